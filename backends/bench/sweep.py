"""Several loads, one after the other, on one backend: how its latencies grow with what is asked of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

import msgspec

from backends.backend import Backend
from backends.bench.load import Load, Result, Run, run
from backends.bench.summary import LoadSummary, summarize
from backends.bench.workload import Workload, poisson
from backends.config import Budget
from backends.errors import BackendError, Code

ROUNDS = 8
"""Requests of each client, where neither a count nor a duration is given."""

OPEN_SECONDS = 20.0
"""Seconds of arrivals, where neither is given."""


class Level(msgspec.Struct, frozen=True):
    """So many `clients` at a time (a closed loop), or so many requests a `second` (an open one)."""

    loop: Literal["clients", "second"]
    value: float

    def __str__(self) -> str:
        return f"{self.value:g} at a time" if self.loop == "clients" else f"{self.value:g} requests/s"


class Measured(msgspec.Struct, frozen=True):
    """A level, and what came of it."""

    level: Level
    summary: LoadSummary
    run: Run


class Extent(msgspec.Struct, frozen=True):
    """How long every level is held, as in `Load`; with neither `count` nor `duration`, as long as makes sense."""

    count: int | None = None
    duration: float | None = None
    warm_up: int = 0

    def load(self, level: Level) -> Load:
        """The load of `level`."""
        clients = int(level.value) if level.loop == "clients" else 1
        count, duration = self.count, self.duration
        if count is None and duration is None:
            count = ROUNDS * clients if level.loop == "clients" else None
            duration = None if level.loop == "clients" else OPEN_SECONDS
        return Load(clients, count, duration, self.warm_up)


def levels(concurrency: str, rate: str) -> tuple[Level, ...]:
    """``1,4,16`` clients, or ``0.5,1,2`` requests a second where `rate` is given. Raises BackendError (CONFIG)."""
    text, option = (rate, "--rate") if rate else (concurrency, "--concurrency")
    parts = [part.strip() for part in text.split(",")]
    form = r"\d+(\.\d+)?" if rate else r"\d+"
    if not all(re.fullmatch(form, part) and float(part) >= 0.001 for part in parts):
        examples = "2.5, or 0.5,1,2" if rate else "8, or 1,4,16"
        raise BackendError(Code.CONFIG, f"{option} {text}: {examples} for one after the other")
    numbers = [float(part) for part in parts]
    return tuple(Level("second" if rate else "clients", number) for number in numbers)


async def sweep(
    backend: Backend,
    workload: Workload,
    wanted: tuple[Level, ...],
    extent: Extent,
    budget: Budget,
    on_begin: Callable[[Level, Load], None] = lambda level, load: None,
    on_result: Callable[[Result], None] = lambda result: None,
) -> list[Measured]:
    """Put each level of `wanted` on `backend`, in order. No prompt is asked twice, but for those of a file."""
    requests = workload.requests()
    found = []
    for number, level in enumerate(wanted):
        load = extent.load(level)
        arrivals = poisson(level.value, workload.seed + number) if level.loop == "second" else None
        on_begin(level, load)
        done = await run(backend, requests, load, arrivals, on_result)
        found.append(Measured(level, summarize(done, budget), done))
    return found
