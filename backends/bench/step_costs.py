"""What llama.cpp's steps cost on this machine, by what is in them and by how much of the KV cache is used.

Measured in a process of its own: beside the threads of another engine in the same process OpenMP has more than there
are cores, and then puts them to sleep between any two operations, which takes four times as long.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from backends.backend import Backend
from backends.bench.cells import Scale, Values
from backends.bench.prediction import PADDING, Step, step_cost
from backends.bench.statistics import median
from backends.engine import Engine, EngineOptions
from backends.engine.runner import DECODED, Job, Runner

ROWS = (1, 2, 4, 8)
"""Sequences that decode in a step."""

_DEPTHS = {PADDING: 0, 4 * PADDING: 3 * PADDING // max(ROWS)}
"""Tokens that each of `max(ROWS)` sequences holds, by the cells that llama.cpp looks at then."""

_SHORT, _LONG = 32, 128  # tokens of prompts, within the same cells
_TIMES = 5


async def step_costs(backend: Backend, scale: Scale, seed: int) -> Values:
    """Milliseconds of steps, by `row_name` and `token_name`; of a prompt what a further token adds."""
    assert isinstance(backend, Engine)
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return await asyncio.get_running_loop().run_in_executor(process, _costs, backend.options)


def _costs(options: EngineOptions) -> Values:
    runner = Runner(options, lambda _: True)
    try:
        return {name: value for cells, depth in _DEPTHS.items() for name, value in _measured(runner, cells, depth)}
    finally:
        runner.close()


def cost_of(samples: Sequence[Values]) -> Step | None:
    """The cost of a step by what `step_costs` measured; None without."""
    if not samples:
        return None
    seconds = {name: median([sample[name] for sample in samples]) / 1000 for name in samples[0]}
    rows = {count: {cells: seconds[row_name(count, cells)] for cells in _DEPTHS} for count in ROWS}
    return step_cost(rows, {cells: seconds[token_name(cells)] for cells in _DEPTHS})


def row_name(rows: int, cells: int = PADDING) -> str:
    """The key of a step of so many rows."""
    return f"{rows} rows, {cells} cells"


def token_name(cells: int = PADDING) -> str:
    """The key of a further token of a prompt."""
    return f"token, {cells} cells"


def _measured(runner: Runner, cells: int, depth: int) -> list[tuple[str, float]]:
    """With `depth` tokens in each of the slots."""
    slots = range(max(ROWS))
    if depth:
        _decode(runner, [Job(slot, 0, _tokens(runner, depth), 1) for slot in slots])
    found = []
    for count in ROWS:
        jobs = [Job(slot, depth, _tokens(runner, 1), 1) for slot in range(count)]
        found.append((row_name(count, cells), _milliseconds(runner, jobs)))
    short, long = (
        _milliseconds(runner, [Job(len(slots), 0, _tokens(runner, length), 1)]) for length in (_SHORT, _LONG)
    )
    found.append((token_name(cells), (long - short) / (_LONG - _SHORT)))
    for slot in slots:
        runner.remove(slot, 0)
    return found


def _milliseconds(runner: Runner, jobs: Sequence[Job]) -> float:
    """What a step of `jobs` takes; nothing of it is left."""
    found = []
    for _ in range(_TIMES):
        begun = time.perf_counter()
        _decode(runner, jobs)
        found.append((time.perf_counter() - begun) * 1000)
        for job in jobs:
            runner.remove(job.slot, job.start)
    return median(found)


def _decode(runner: Runner, jobs: Sequence[Job]) -> None:
    assert runner.decode(jobs) == DECODED
    runner.logits(0)  # a GPU has ended then


def _tokens(runner: Runner, count: int) -> list[int]:
    """Some that are not all the same."""
    return [(7 * index + 300) % runner.n_vocab for index in range(count)]
