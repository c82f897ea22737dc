"""The load generator: requests to any Backend, in a closed or an open loop, each measured as a client sees it.

In an open loop requests are due at times fixed beforehand, whether or not the backend keeps up, and are measured from
the time they were due: a backend that stalls pays for everybody who had to wait (no coordinated omission). In a closed
loop a fixed number of clients asks one request after the other; that cannot show what waiting costs, only how much
work gets done.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing

import msgspec

from backends.backend import Backend, ChatRequest
from backends.config import Budget
from backends.telemetry.summary import summarize
from backends.telemetry.timeline import Outcome, Timeline


class Result(msgspec.Struct, frozen=True):
    """One request. Times in milliseconds since it was due; None where it did not come to that.

    `due`: when, in seconds since the load began. `late_ms`: how much later it was sent; nothing in a closed loop.
    `gaps` lie between chunks, which may hold several tokens. `tokens` as counted by the server where it counts.
    """

    due: float
    late_ms: float
    outcome: Outcome
    ttft: float | None
    tpot: float | None
    total: float | None
    tokens: int
    prompt_tokens: int | None
    cached_tokens: int | None
    draft_tokens: int | None
    accepted_tokens: int | None
    gaps: tuple[float, ...]
    error: str = ""

    @property
    def good(self) -> bool:
        """Whether it was answered."""
        return self.outcome in ("complete", "truncated")

    def meets(self, budget: Budget) -> bool:
        """Whether it was answered within `budget`."""
        return (
            self.good
            and self.ttft is not None
            and self.total is not None
            and self.ttft <= budget.ttft_ms
            and self.total <= budget.total_ms
        )


class Load(msgspec.Struct, frozen=True):
    """How requests come: `concurrency` clients, each asking again when answered; or, with `arrivals`, whenever it says.

    Ends after `count` requests or when `duration` seconds have passed, whichever is set; requests that were sent by
    then are waited for. The first `warm_up` requests are asked beforehand and not measured.
    """

    concurrency: int = 1
    count: int | None = None
    duration: float | None = None
    warm_up: int = 0


class Run(msgspec.Struct, frozen=True):
    """What came of a load. `seconds`: from its begin to the last answer's end."""

    results: tuple[Result, ...]
    seconds: float


async def run(
    backend: Backend,
    requests: Iterator[ChatRequest],
    load: Load,
    arrivals: Iterator[float] | None = None,
    on_result: Callable[[Result], None] = lambda result: None,
) -> Run:
    """Put `load` on `backend`. `arrivals`: an open loop, due at these seconds; `concurrency` does not count then."""
    for request in itertools.islice(requests, load.warm_up):
        await measure(backend, request, time.perf_counter())
    results: list[Result] = []
    begun = time.perf_counter()

    def take(result: Result) -> None:
        results.append(result)
        on_result(result)

    due = _due(load, begun, arrivals)
    async with asyncio.TaskGroup() as group:
        if arrivals is None:
            for _ in range(load.concurrency):
                group.create_task(_client(backend, requests, due, begun, take))
        else:
            async for at in _paced(due, begun):
                group.create_task(_one(backend, next(requests), begun, begun + at, take))
    return Run(tuple(results), time.perf_counter() - begun)


async def measure(backend: Backend, request: ChatRequest, due: float, begun: float | None = None) -> Result:
    """Ask `request`, and read the answer to its end. `due`, `begun`: by `time.perf_counter`."""
    timeline = Timeline()
    sent = time.perf_counter()
    async with aclosing(backend.stream(request)) as events:
        async for event in events:
            timeline.add(event, (time.perf_counter() - due) * 1000)
    timeline.end("interrupted", (time.perf_counter() - due) * 1000)
    summary = summarize(timeline)
    error = timeline.error
    return Result(
        due=due - (due if begun is None else begun),
        late_ms=(sent - due) * 1000,
        outcome=summary.outcome,
        ttft=summary.ttft,
        tpot=summary.tpot,
        total=summary.total,
        tokens=summary.tokens,
        prompt_tokens=summary.prompt_tokens,
        cached_tokens=summary.cached_tokens,
        draft_tokens=summary.draft_tokens,
        accepted_tokens=summary.accepted_tokens,
        gaps=tuple(later - earlier for earlier, later in itertools.pairwise(timeline.chunk_ms)),
        error=f"{error.code}: {error.message}" if error else "",
    )


def _due(load: Load, begun: float, arrivals: Iterator[float] | None) -> Iterator[float]:
    """When the next request may go out, in seconds since the begin; ends with the load."""
    for number in itertools.count():
        if load.count is not None and number >= load.count:
            return
        at = time.perf_counter() - begun if arrivals is None else next(arrivals)
        if load.duration is not None and at >= load.duration:
            return
        yield at


async def _client(
    backend: Backend,
    requests: Iterator[ChatRequest],
    due: Iterator[float],
    begun: float,
    take: Callable[[Result], None],
) -> None:
    for at in due:
        await _one(backend, next(requests), begun, begun + at, take)


async def _one(
    backend: Backend, request: ChatRequest, begun: float, due: float, take: Callable[[Result], None]
) -> None:
    take(await measure(backend, request, due, begun))


async def _paced(due: Iterator[float], begun: float) -> AsyncIterator[float]:
    for at in due:
        await asyncio.sleep(max(0.0, begun + at - time.perf_counter()))
        yield at
