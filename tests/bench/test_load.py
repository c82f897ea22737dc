"""The load generator on scripted backends, and what is made of its results."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator

from backends.bench.load import Load, Result, Run, run
from backends.bench.load_report import table
from backends.bench.summary import summarize
from backends.bench.workload import Workload
from backends.config import Budget
from backends.events import Done, Error, Token
from tests.fakes.scripted import Hold, Scripted, answer

REQUESTS = Workload().requests


async def test_a_closed_loop_asks_so_many_at_a_time_and_no_more() -> None:
    hold = Hold()
    backend = Scripted(Token("a"), hold, Done(1, 1.0))
    running = asyncio.create_task(run(backend, REQUESTS(), Load(concurrency=3, count=7)))
    async with asyncio.timeout(20):
        while backend.streaming < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    assert len(backend.requests) == 3
    hold.release()
    done = await running
    assert len(done.results) == backend.ended == 7


async def test_requests_may_come_to_an_end() -> None:
    backend = Scripted(*answer("a"))
    asked = list(itertools.islice(REQUESTS(), 7))
    done = await run(backend, iter(asked), Load(concurrency=3, count=7))
    assert len(done.results) == 7
    assert sorted(map(asked.index, backend.requests)) == list(range(7))


async def test_an_open_loop_does_not_wait_for_answers() -> None:
    hold = Hold()
    backend = Scripted(Token("a"), hold, Done(1, 1.0))

    def due() -> Iterator[float]:
        yield from [0.0] * 4
        hold.release()  # asked for only after the fourth was sent: a generator that waited for answers hangs
        yield 0.0

    assert len((await run(backend, REQUESTS(), Load(count=5), due())).results) == 5


async def test_who_could_not_be_sent_in_time_is_measured_from_when_it_was_due() -> None:
    backend = Scripted(*answer("a", "b"))

    def overdue() -> itertools.repeat[float]:
        return itertools.repeat(-2.0)  # due two seconds before the load began

    done = await run(backend, REQUESTS(), Load(count=3), overdue())
    assert all(result.late_ms >= 2000 and (result.ttft or 0) >= 2000 for result in done.results)
    assert summarize(done, Budget(500, 5000)).goodput == 0


async def test_the_load_ends_with_its_duration() -> None:
    backend = Scripted(*answer("a"))
    done = await run(backend, REQUESTS(), Load(duration=10.0), itertools.chain([0.0, 0.0], itertools.repeat(11.0)))
    assert len(done.results) == 2


async def test_warming_up_is_not_measured() -> None:
    backend = Scripted(*answer("a"))
    done = await run(backend, REQUESTS(), Load(count=2, warm_up=3))
    assert len(done.results) == 2
    assert len(backend.requests) == 5
    assert len({request.messages for request in backend.requests}) == 5


async def test_failures_are_counted_apart_and_their_times_are_not() -> None:
    backend = Scripted(Token("a"), Error("OVERLOADED", "come back later"))
    summary = summarize(await run(backend, REQUESTS(), Load(count=2)), Budget(500, 5000))
    assert (summary.requests, summary.answered, summary.ttft) == (2, 0, None)
    assert summary.errors == {"OVERLOADED: come back later": 2}
    assert "failed 2 times: OVERLOADED" in table(summary)


def result(ttft: float, total: float, tokens: int) -> Result:
    each = (total - ttft) / (tokens - 1)
    return Result(
        due=0.0,
        late_ms=0.0,
        outcome="complete",
        ttft=ttft,
        tpot=each,
        total=total,
        tokens=tokens,
        prompt_tokens=10,
        cached_tokens=5,
        draft_tokens=None,
        accepted_tokens=None,
        gaps=(each,) * (tokens - 1),
    )


def test_the_summary_counts_tokens_rates_and_what_met_its_budget() -> None:
    results = tuple(result(100.0 * number, 1000.0 * number, 11) for number in range(1, 11))
    summary = summarize(Run(results, 20.0), Budget(500, 8000))
    assert summary.ttft is not None
    assert summary.tpot is not None
    assert (summary.ttft.p50, summary.tpot.p50) == (550, 495)
    assert (summary.output_tokens, summary.tokens_per_second, summary.requests_per_second) == (110, 5.5, 0.5)
    assert (summary.goodput_share, summary.goodput) == (0.5, 0.25)
    assert (summary.prompt_tokens, summary.cached_tokens) == (100, 50)
    assert "goodput: 50.0% within budget" in table(summary)
