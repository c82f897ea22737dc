"""What continuous batching should gain over static batching, by the measured cost of steps. Pure.

Both compute the same prompts and make the same tokens. Static batching makes many of them in steps that hold fewer
sequences, as nobody takes the place of who has ended; but in an emptier KV cache, of which every row of a step looks at
all used cells, those of other sequences too. So what there is to gain depends on what a step costs by its sequences and
by the cells: much on a GPU, where it hardly costs more; on a CPU it may be a loss, as prompts are computed in company.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

PADDING = 256
"""llama.cpp looks at the used cells in blocks of so many (`llama_kv_cache::get_n_kv`)."""

CHUNK = 128
"""Tokens of prompts in a step."""

Step = Callable[[int, int, int], float]
"""Seconds of a step: sequences that decode in it, tokens of prompts in it, cells used after it."""


class Request(NamedTuple):
    """What is asked, in tokens."""

    prompt: int
    answer: int


def line(points: Mapping[int, float], at: int) -> float:
    """The value `at` by what is known at some `points` (at least one): on the lines between them, and beyond them."""
    known = sorted(points.items())
    if len(known) == 1:
        return known[0][1]
    pairs = list(pairwise(known))
    (low, first), (high, last) = next((pair for pair in pairs if at <= pair[1][0]), pairs[-1])
    return first + (last - first) * (at - low) / (high - low)


def step_cost(rows: Mapping[int, Mapping[int, float]], token: Mapping[int, float]) -> Step:
    """The cost by what was measured at some numbers of cells: a step of so many `rows`; a further `token` of a prompt.

    `rows`: seconds by cells, by their number.
    """

    def cost(decoding: int, tokens: int, cells: int) -> float:
        used = -(-cells // PADDING) * PADDING
        by_rows = {count: line(by_cells, used) for count, by_cells in rows.items()}
        alone = decoding == 0  # the first token of a prompt is a row then
        return line(by_rows, max(1, decoding)) + (tokens - alone) * line(token, used)

    return cost


def seconds(requests: Iterable[Request], streams: int, step: Step) -> float:
    """Seconds to answer `requests`, in this order, the next one beginning whenever one of `streams` has ended."""
    waiting = deque(requests)
    running: list[_Running] = []
    total = 0.0
    while waiting or running:
        while waiting and len(running) < streams:
            running.append(_Running(waiting.popleft()))
        decoding = sum(it.decode() for it in running)
        tokens = 0
        for it in running:
            tokens += it.prefill(CHUNK - tokens)
        total += step(decoding, tokens, sum(it.cells for it in running))
        running = [it for it in running if it.answer > 0]
    return total


class _Running:
    """A request that is being answered: what is left of it, and the cells that it has."""

    def __init__(self, request: Request) -> None:
        self.prompt, self.answer = request
        self.cells = 0

    def decode(self) -> bool:
        """One token more, if the prompt is computed."""
        if self.prompt:
            return False
        self.answer, self.cells = self.answer - 1, self.cells + 1
        return True

    def prefill(self, most: int) -> int:
        """Up to `most` tokens of the prompt, whose last one gives the first of the answer. Returns how many."""
        tokens = min(self.prompt, most)
        if tokens:
            self.prompt, self.cells = self.prompt - tokens, self.cells + tokens
            self.answer -= self.prompt == 0
        return tokens


def predicted_gain(batches: Sequence[Sequence[Request]], streams: int, step: Step) -> float:
    """How many times as fast continuous batching should be as `batches`, each begun when the last has ended."""
    requests = [request for batch in batches for request in batch]
    return sum(seconds(batch, len(batch), step) for batch in batches) / seconds(requests, streams, step)
