"""Who is answered when: by feature, in batches, within deadlines; and what those who wait are told."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from backends.engine import Engine
from backends.engine.loop import StepLoop
from backends.engine.options import QueueTimeout
from backends.engine.runner import Job, Runner
from backends.engine.sequence import Sequence
from backends.events import Done, Error, Status, Token
from tests.engine.answers import Answer, ask, read, request
from tests.engine.conftest import StartEngine


@asynccontextmanager
async def occupied(engine: Engine, max_tokens: int = 3000, **fields: object) -> AsyncIterator[None]:
    """While it is open, an answer takes one stream; on the slow model it would do so for many seconds."""
    stream = engine.stream(request("refund", max_tokens, **fields))
    async for event in stream:
        if isinstance(event, Token):
            break
    yield
    await stream.aclose()


async def queued(engine: Engine, content: str, **fields: object) -> asyncio.Task[Answer]:
    """A request that waits in the line by now."""
    stream = engine.stream(request(content, 8, **fields))
    first = await anext(stream)
    assert isinstance(first, Status)
    assert first.status == "queued"

    async def rest() -> Answer:
        return Answer([first, *(await read(stream)).events])

    return asyncio.create_task(rest())


async def test_chats_go_before_batches_and_batches_in_their_order(start: StartEngine, slow: Path) -> None:
    engine = await start(model=str(slow), max_streams=1)
    ended: list[str] = []
    async with occupied(engine):
        tasks = {}
        for name, feature in (("b1", "batch"), ("s", "summarize"), ("b2", "batch"), ("c", "chat")):
            tasks[name] = await queued(engine, name, feature=feature)
            tasks[name].add_done_callback(lambda _, name=name: ended.append(name))  # type: ignore[misc]
    answers = dict(zip(tasks, await asyncio.gather(*tasks.values()), strict=True))
    assert ended == ["c", "s", "b1", "b2"]
    assert answers["b1"].statuses("queued")[0].position == 1
    assert max(status.position for status in answers["b1"].statuses("queued")) == 3


async def test_batches_leave_a_stream_to_chats(start: StartEngine, slow: Path) -> None:
    """Batch work has two of three streams: more of it waits, and a chat that comes after it does not."""
    engine = await start(model=str(slow), max_streams=3)
    async with occupied(engine, feature="batch"), occupied(engine, feature="batch"):
        waiting = await queued(engine, "b3", feature="batch")
        chat = await ask(engine, "c", 4)
        assert not waiting.done()
        assert [status for status in chat.statuses("queued") if status.position] == []
    assert (await waiting).done.finish_reason == "length"


async def test_a_batch_prompt_yields_to_a_chat_between_chunks(
    start: StartEngine, slow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await start(model=str(slow), prefill_chunk=32)
    submit, decode, both_here = StepLoop.submit, Runner.decode, threading.Event()
    slots: list[int] = []

    def watched_submit(self: StepLoop, sequence: Sequence) -> None:
        submit(self, sequence)
        if sequence.feature == "chat":
            both_here.set()

    def spy(self: Runner, jobs: list[Job]) -> int:
        assert not slots or both_here.wait(60)
        slots.extend(job.slot for job in jobs if len(job.tokens) > 1)
        return decode(self, jobs)

    monkeypatch.setattr(StepLoop, "submit", watched_submit)
    monkeypatch.setattr(Runner, "decode", spy)
    stream = engine.stream(request("refund " * 200, 4, feature="batch"))
    async for event in stream:
        if isinstance(event, Status) and event.done >= 32:
            break
    chat = await ask(engine, "1" * 100, 4)
    batch = await read(stream)
    assert chat.done.finish_reason == batch.done.finish_reason == "length"
    of_chat = [at for at, slot in enumerate(slots) if slot != slots[0]]
    assert of_chat == list(range(of_chat[0], of_chat[0] + len(of_chat))), "the chat's chunks come in one piece"
    assert of_chat[0] <= 3
    assert of_chat[-1] < len(slots) - 1, "before the end of the batch request's"


async def test_who_waits_is_told_how_long(start: StartEngine, slow: Path) -> None:
    engine = await start(model=str(slow), max_streams=1)
    await ask(engine)
    async with occupied(engine):
        first, second = await queued(engine, "1"), await queued(engine, "2")
    waits = [status.expected_ms for task in (first, second) for status in (await task).statuses("queued")[:1]]
    assert all(wait is not None and 0 < wait < 1e6 for wait in waits)


async def test_a_request_may_bring_its_own_deadline(start: StartEngine, slow: Path) -> None:
    engine = await start(model=str(slow), max_streams=1, queue_timeout=QueueTimeout(batch=1e-6))
    async with occupied(engine):
        patient = await queued(engine, "1")
        for impatient in (ask(engine, "2", queue_timeout=1e-6), ask(engine, "3", feature="batch")):
            error = (await impatient).error
            assert (error.code, error.retryable) == ("OVERLOADED", True)
            assert "no place within 1e-06 s" in error.message
            assert error.retry_after is not None
            assert error.retry_after > 0
    assert isinstance((await patient).end, Done)


async def test_when_the_line_is_full_the_last_in_it_is_refused(start: StartEngine, slow: Path) -> None:
    """A chat that comes to a line full of batch requests is not the last."""
    engine = await start(model=str(slow), max_streams=1, max_queue=2)
    async with occupied(engine):
        batches = [await queued(engine, name, feature="batch") for name in ("1", "2")]
        chat = await queued(engine, "3")
        third = await ask(engine, "4", feature="batch")
    ends = [type((await task).end) for task in (*batches, chat)]
    assert ends == [Done, Error, Done]
    assert third.error.code == "OVERLOADED"


async def test_those_who_are_refused_come_back_one_after_the_other(start: StartEngine, slow: Path) -> None:
    """Each is told when the next place in the line will be free that nobody was told of before."""
    engine = await start(model=str(slow), max_streams=1, max_queue=2)
    await ask(engine)
    async with occupied(engine, 1000), AsyncExitStack() as line:
        for name in ("1", "2"):
            stream = await line.enter_async_context(aclosing(cast("Any", engine.stream(request(name, 1000)))))
            assert (await anext(stream)).status == "queued"
        refused = [(await ask(engine, name, 1000)).error for name in ("3", "4", "5", "6")]
    first, second, third, fourth = (error.retry_after or 0.0 for error in refused)
    assert 0 < first < second < third
    assert fourth == pytest.approx(third, rel=0.5), "further than that nobody can see"


@pytest.mark.parametrize("batching", ["dynamic", "static"])
async def test_nobody_joins_a_batch(
    start: StartEngine, slow: Path, batching: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await start(model=str(slow), max_streams=3, batching=batching, max_queue_ms=1.0)
    decode = Runner.decode
    companies: list[set[int]] = []

    def spy(self: Runner, jobs: list[Job]) -> int:
        companies.append({job.slot for job in jobs})
        return decode(self, jobs)

    monkeypatch.setattr(Runner, "decode", spy)
    async with occupied(engine):
        late = [await queued(engine, name) for name in ("1", "2")]
        assert {len(company) for company in companies} == {1}
    answers = [await task for task in late]
    assert all(answer.done.total_tokens == 8 for answer in answers)
    assert max(len(company) for company in companies) == 2, "what waited together runs together"


async def test_a_dynamic_batch_does_not_wait_when_nobody_else_comes(start: StartEngine) -> None:
    """With an hour to form, one request alone would never be answered; and a full batch waits for nobody."""
    engine = await start(max_streams=2, batching="dynamic", max_queue_ms=3.6e6)
    assert (await ask(engine)).done.finish_reason == "length"
    answers = await asyncio.gather(*(ask(engine, str(number)) for number in range(5)))
    assert [answer.done.total_tokens for answer in answers] == [24] * 5


async def test_a_dynamic_batch_waits_for_who_is_on_the_way(start: StartEngine) -> None:
    engine = await start(max_streams=2, batching="dynamic", max_queue_ms=3.6e6)
    steps = engine._steps
    assert steps is not None
    with steps.announced():
        waiting = await queued(engine, "1")
        assert not len(steps._running)
    assert (await waiting).done.finish_reason == "length"


async def test_a_static_batch_takes_requests_of_one_size(start: StartEngine, slow: Path) -> None:
    engine = await start(model=str(slow), max_streams=2, batching="static", max_queue_ms=1.0, kv_residency="none")
    ended: list[str] = []
    async with occupied(engine):
        tasks = []
        for name, content in (("short", "1"), ("long", "1" * 300), ("shorter", "2"), ("longer", "2" * 300)):
            tasks.append(await queued(engine, content))
            tasks[-1].add_done_callback(lambda _, name=name: ended.append(name))  # type: ignore[misc]
    await asyncio.gather(*tasks)
    assert set(ended[:2]) == {"short", "shorter"}


@pytest.mark.parametrize("objective", ["ttft", "throughput"])
async def test_objectives_change_the_order_of_work_and_not_the_answers(start: StartEngine, objective: str) -> None:
    engine, plain = await start(objective=objective), await start()
    contents = ["refund " * 60, "pause", "1" * 200]
    alone = [(await ask(plain, content)).text for content in contents]
    assert [answer.text for answer in await asyncio.gather(*(ask(engine, it) for it in contents))] == alone


async def test_a_batch_that_is_forming_is_no_line(start: StartEngine) -> None:
    """Nobody may wait, yet three may come together."""
    engine = await start(max_streams=3, max_queue=0, batching="dynamic", max_queue_ms=3.6e6)
    answers = await asyncio.gather(*(ask(engine, str(number), 8) for number in range(3)))
    assert any(isinstance(answer.end, Done) for answer in answers)
    steps = engine._steps
    assert steps is not None
    with steps.announced():
        answers = await asyncio.gather(*(ask(engine, str(number), 8) for number in range(3)))
    assert [type(answer.end) for answer in answers] == [Done] * 3
