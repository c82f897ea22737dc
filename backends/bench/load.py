"""The load generator: requests to any Backend, in a closed or an open loop, each measured as a client sees it.

In an open loop requests are due at times fixed beforehand, whether or not the backend keeps up, and are measured from
the time they were due: a backend that stalls pays for everybody who had to wait (no coordinated omission). In a closed
loop a fixed number of clients asks one request after the other; that cannot show what waiting costs, only how much
work gets done.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, contextmanager

import msgspec

from backends.backend import Backend, ChatRequest
from backends.config import Budget
from backends.telemetry.summary import summarize
from backends.telemetry.timeline import Outcome, Timeline

APART = 0.005
"""Seconds between the first requests of two clients: all at once they would wait for each other here, not there."""

TICK = 0.0015
"""Seconds that a timer of the event loop may be late."""

_RARELY = 1_000
"""Collections of the middle generation per one of the oldest, which holds hundreds of connections."""


class Result(msgspec.Struct, frozen=True, gc=False):
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
    then are waited for. The first `warm_up` requests are asked beforehand, as many at a time, and not measured.
    """

    concurrency: int = 1
    count: int | None = None
    duration: float | None = None
    warm_up: int = 0


class Run(msgspec.Struct, frozen=True):
    """What came of a load. `seconds`: from its begin to the last answer's end; `begun`: `time.perf_counter` then."""

    results: tuple[Result, ...]
    seconds: float
    begun: float = 0.0


async def run(
    backend: Backend,
    requests: Iterator[ChatRequest],
    load: Load,
    arrivals: Iterator[float] | None = None,
    on_result: Callable[[Result], None] = lambda result: None,
) -> Run:
    """Put `load` on `backend`. `arrivals`: an open loop, due at these seconds; `concurrency` does not count then."""
    warming = itertools.islice(requests, load.warm_up)
    async with asyncio.TaskGroup() as group:
        for _ in range(min(load.concurrency, load.warm_up)):
            group.create_task(_warm(backend, warming))
    results: list[Result] = []

    def take(result: Result) -> None:
        results.append(result)
        on_result(result)

    with _undisturbed():
        begun = time.perf_counter()
        due = _due(load, begun, arrivals)
        async with asyncio.TaskGroup() as group:
            if arrivals is None:
                for number in range(load.concurrency):
                    group.create_task(_client(backend, requests, due, begun, take, number * APART))
            else:
                request = next(requests)  # made before it is due, here and below: making it is not asking
                async for at in _paced(due, begun):
                    group.create_task(_one(backend, request, begun, begun + at, take))
                    request = next(requests)
        return Run(tuple(results), time.perf_counter() - begun, begun)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Nothing that is there by now is looked through for garbage: with all that is imported that takes 20 ms and more,
    in which a hundred streams would wait to be stamped. What is made from now on only while it is young."""
    gc.collect()
    gc.freeze()
    young, middle, old = gc.get_threshold()
    gc.set_threshold(young, middle, _RARELY)
    try:
        yield
    finally:
        gc.set_threshold(young, middle, old)
        gc.unfreeze()


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
        gaps=tuple(round(later - earlier, 3) for earlier, later in itertools.pairwise(timeline.chunk_ms)),
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


async def _warm(backend: Backend, requests: Iterator[ChatRequest]) -> None:
    for request in requests:
        await measure(backend, request, time.perf_counter())


async def _client(
    backend: Backend,
    requests: Iterator[ChatRequest],
    due: Iterator[float],
    begun: float,
    take: Callable[[Result], None],
    after: float,
) -> None:
    """One client of a closed loop; its first request goes out `after` seconds."""
    await asyncio.sleep(after)
    request = next(requests, None)
    while request is not None and (at := next(due, None)) is not None:
        await _one(backend, request, begun, begun + at, take)
        request = next(requests, None)


async def _one(
    backend: Backend, request: ChatRequest, begun: float, due: float, take: Callable[[Result], None]
) -> None:
    take(await measure(backend, request, due, begun))


async def _paced(due: Iterator[float], begun: float) -> AsyncIterator[float]:
    """Each of `due` when its time has come. The event loop's own timers are up to `TICK` late, which would be counted
    as the server's."""
    for at in due:
        if (left := begun + at - TICK - time.perf_counter()) > 0:
            await asyncio.sleep(left)
        while time.perf_counter() < begun + at:  # noqa: ASYNC110 - a time, not an event
            await asyncio.sleep(0)
        yield at
