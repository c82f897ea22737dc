"""What is measured on a GPU, or smaller on a CPU to try it out. Only data, and the cells that nothing else needs."""

from __future__ import annotations

import random
import time
from typing import Any

import msgspec

from backends.backend import Backend
from backends.bench import cells
from backends.bench.cells import Cell, Scale, Values
from backends.bench.in_process import python_share
from backends.bench.load import Load, run
from backends.bench.models import SHAPES, Shape, pair
from backends.bench.suite import DRAFT_FLAGS, INSIDE, OURS, PLAIN, RIVAL, Comparison, Contender, Entry, Setup
from backends.bench.workload import Lengths, Workload, words

REFUSALS = ("OVERLOADED", "CONTEXT_FULL", "HTTP_429", "HTTP_503")
NOISES = {"0.95": 0.01, "0.9": 0.02, "0.7": 0.07, "0.5": 0.125}
"""The noise by the share of drafted tokens that it should let pass; what it did is in the table."""


class Size(msgspec.Struct, frozen=True):
    """How large everything is. `prompts`: three lengths, the last one the long prompt; `crowd`: clients and cells."""

    shapes: tuple[Shape, ...]
    draft_layers: int
    streams: tuple[int, ...]
    prompts: tuple[int, int, int]
    cells: int
    crowd: int
    scale: Scale


LARGE = Size(
    (SHAPES["8B"], SHAPES["8B-Q4"]),
    2,
    (8, 32, 64),
    (1_024, 8_192, 32_000),
    131_072,
    100,
    Scale(decode=256, long=32_000),
)
TINY = Size(
    (Shape("tiny", 128, 4, 4, 2, 256, 2_048),),
    1,
    (2, 4),
    (64, 128, 512),
    4_096,
    12,
    Scale(decode=24, long=512, shared=64),
)


def sized(cell: Cell, **changes: Any) -> Cell:
    """`cell` on another scale."""

    async def changed(backend: Backend, scale: Scale, seed: int) -> Values:
        return await cell(backend, msgspec.structs.replace(scale, **changes), seed)

    return changed


def crowd(clients: int, prompt: int) -> Cell:
    """`clients` at once whose prompts together are far more than the cache holds: all are answered or refused."""

    async def cell(backend: Backend, scale: Scale, seed: int) -> Values:
        mix = Workload(Lengths("fixed", prompt), Lengths("fixed", 16), seed=seed)
        done = await run(backend, mix.requests(), Load(clients, clients))
        good = sum(result.good for result in done.results)
        refused = sum(result.error.startswith(REFUSALS) for result in done.results)
        return {"answered": good, "refused": refused, "lost": clients - good - refused, "seconds": done.seconds}

    return cell


def returning(prompt: int, others: int) -> Cell:
    """TTFT of a prompt that was answered before; `others` tokens of other prompts have come between."""

    async def cell(backend: Backend, scale: Scale, seed: int) -> Values:
        rng = random.Random(seed)
        ours = Workload(Lengths("fixed", prompt), Lengths("fixed", 2), seed=seed)
        first = next(ours.requests())
        await run(backend, iter([first]), Load(1, 1))
        for _ in range(others // prompt):
            other = Workload(prompts=(words(rng, prompt),), output=Lengths("fixed", 1), seed=rng.randrange(1 << 30))
            await run(backend, other.requests(), Load(1, 1))
        begun = time.perf_counter()
        done = await run(backend, iter([first]), Load(1, 1))
        return {"ttft ms": done.results[0].ttft or 1000 * (time.perf_counter() - begun)}

    return cell


def setups(size: Size) -> list[Setup]:
    """Everything on a plain model."""
    most, (_, middle, long) = size.streams[-1], size.prompts
    context = long + 1_024
    serving: dict[str, Any] = PLAIN | {"max_streams": most, "n_ctx": context, "kv_cells": size.cells}
    both = (Contender(OURS), Contender(RIVAL, "rival"))

    def versus(
        name: str, title: str, cell: Cell, key: str, reach: float | None = None, higher: bool = True, n: int = 5
    ) -> Entry:
        return Entry(name, cell, (OURS, RIVAL), (Comparison(title, key, OURS, RIVAL, reach, higher),), n)

    entries = [versus("decode", "decode, one stream, tok/s", cells.decode, "tok/s", 0.97, n=10)]
    entries += [
        versus(f"streams-{n}", f"{n} streams of mixed lengths, tok/s", cells.aggregate(n), "tok/s", 1.0)
        for n in size.streams
    ]
    for prompt in size.prompts:
        entries += [
            versus(
                f"cold-{prompt}",
                f"TTFT cold, {prompt}, ms",
                sized(cells.cold, prompt=prompt),
                "ttft ms",
                None,
                False,
                3,
            ),
            versus(
                f"warm-{prompt}", f"TTFT warm, {prompt}, ms", sized(cells.warm, prompt=prompt), "ttft ms", 1.0, False, 3
            ),
            versus(
                f"typed-{prompt}",
                f"TTFT typed, {prompt}, ms",
                sized(cells.typed, prompt=prompt),
                "ttft ms",
                0.5,
                False,
                3,
            ),
        ]
    gap = Comparison(f"worst gap while {long} tokens arrive, ms", "worst gap ms", OURS, RIVAL, 0.25, False)
    its = Comparison("that prompt's TTFT, ms", "ttft ms", OURS, RIVAL, 1.25, False)
    entries.append(Entry("long", cells.long_prompt, (OURS, RIVAL), (gap, its), 3))
    found = [Setup("serving", serving, both, tuple(entries))]
    waiting = f"disconnect in a prefill of {long // 2} -> first token of who waited, ms"
    found.append(
        Setup(
            "cancelling",
            PLAIN | {"max_streams": 1, "n_ctx": context, "kv_cells": context},
            both,
            (versus("cancel-prefill", waiting, cells.cancel(True), "ms", 1.0, False, 3),),
        )
    )
    return [*found, *_ours(size, serving, middle, context)]


def _ours(size: Size, serving: dict[str, Any], middle: int, context: int) -> list[Setup]:
    """What is a matter of our engine alone."""
    most = size.streams[-1]

    def alone(name: str, cell: Cell, who: str, *said: tuple[str, str], n: int = 3) -> Entry:
        lines = tuple(Comparison(title, key, who, "", None, False) for title, key in said)
        return Entry(name, cell, (who,), lines, n)

    clients = size.crowd
    told = tuple(
        (f"{clients} clients x {middle}, cache for 8: {what}", what) for what in ("answered", "refused", "lost")
    )
    crowded = PLAIN | {"max_streams": 8, "n_ctx": middle + 64, "kv_cells": 8 * (middle + 64), "max_queue": clients // 2}
    small_cache = {"max_streams": 2, "n_ctx": middle + 512, "kv_cells": 2 * (middle + 512), "kv_residency": "device"}
    shares = tuple(
        alone(f"python-{n}", python_share(n), INSIDE, (f"Python's share of a step, {n} streams, %", "python %"))
        for n in (1, *size.streams[:2])
    )
    return [
        Setup("inside", serving, (Contender(INSIDE, "inside"),), shares),
        Setup("crowd", crowded, (Contender(OURS),), (alone("crowd", crowd(clients, middle), OURS, *told, n=1),)),
        Setup(
            "prefixes",
            small_cache,
            (Contender(OURS),),
            (
                alone("resident", returning(middle, 0), OURS, (f"TTFT again, {middle}, in the cache, ms", "ttft ms")),
                alone(
                    "spilled", returning(middle, 3 * middle), OURS, (f"TTFT again, {middle}, spilled, ms", "ttft ms")
                ),
                alone("computed", sized(cells.cold, prompt=middle), OURS, (f"TTFT, {middle}, computed, ms", "ttft ms")),
            ),
        ),
        Setup(
            "kv",
            serving | {"max_streams": size.streams[0]},
            (Contender("f16"), Contender("q8_0", options={"kv_type": "q8_0", "flash_attention": "on"})),
            (
                _pair("kv-decode", "KV q8_0 / f16, one stream, tok/s", cells.decode, "q8_0", "f16"),
                _pair(
                    "kv-streams",
                    f"KV q8_0 / f16, {size.streams[0]} streams, tok/s",
                    cells.aggregate(size.streams[0]),
                    "q8_0",
                    "f16",
                ),
            ),
        ),
        Setup(
            "batching",
            serving | {"max_streams": most, "n_ctx": 2_048},
            (Contender("continuous"), Contender("static", options={"batching": "static"})),
            (
                _pair(
                    "batching",
                    f"skewed lengths, {most} slots: continuous / static, tok/s",
                    cells.skewed(most),
                    "continuous",
                    "static",
                    2.5,
                ),
            ),
        ),
    ]


def _pair(name: str, title: str, cell: Cell, ours: str, other: str, reach: float | None = None) -> Entry:
    return Entry(name, cell, (ours, other), (Comparison(title, "tok/s", ours, other, reach),), 3)


def speculation(size: Size) -> list[Setup]:
    """Drafts of several acceptances, on both servers, with and without."""
    ours, theirs = f"{OURS} + draft", f"{RIVAL} + draft"
    found = []
    for acceptance, noise in NOISES.items():
        for temperature in (0.0, 0.8):
            what = f"acceptance {acceptance}, temperature {temperature:g}"
            entry = Entry(
                f"draft-{acceptance}-{temperature:g}",
                cells.sampled_decode(temperature),
                (OURS, ours, RIVAL, theirs),
                (
                    Comparison(f"{what}: with / without", "tok/s", ours, OURS, 2.0 if acceptance == "0.9" else 0.95),
                    Comparison(f"{what}: llama-server with / without", "tok/s", theirs, RIVAL),
                    Comparison(f"{what}: gain / its gain", "tok/s", f"{ours} / {OURS}", f"{theirs} / {RIVAL}", 1.0),
                    Comparison(f"{what}: accepted", "acceptance", ours, theirs),
                ),
                3,
            )
            contenders = (
                Contender(OURS, options=PLAIN),
                Contender(ours, options={"draft_model": "DRAFT"}),
                Contender(RIVAL, "rival"),
                Contender(theirs, "rival", flags=DRAFT_FLAGS),
            )
            options = {"max_streams": 2, "n_ctx": 2_048, "kv_cells": 4_096}
            found.append(
                Setup(entry.name, options, contenders, (entry,), pair(size.shapes[0], size.draft_layers, noise))
            )
    return found
