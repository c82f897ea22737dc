"""`Local` as a backend: it starts its child, answers, accounts for the time, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import aclosing

import msgspec
import pytest

from backends.backend import ChatRequest, Message
from backends.errors import Code
from backends.events import Done, Error, Event, Meta, Status, Token
from backends.local.launcher import Settings
from backends.local.spec import Spec
from backends.providers.local import Local
from backends.telemetry.summary import account
from backends.telemetry.timeline import Timeline
from tests.local.conftest import is_running, is_there, wait_until
from tests.local.talk import answer, ask, child, endpoints, first_token, text_of

OpenLocal = Callable[..., Local]


async def test_the_first_question_starts_the_engine_and_is_answered(open_local: OpenLocal) -> None:
    events = await answer(open_local(), ask(max_tokens=6))
    assert events[0] == Status("loading", detail="starting the engine")
    assert isinstance(events[-1], Done)
    assert events[-1].total_tokens == 6
    assert events[-1].finish_reason == "length"
    assert text_of(events)
    assert sum(isinstance(event, Done | Error) for event in events) == 1


async def test_loading_is_reported_with_progress(open_local: OpenLocal) -> None:
    events = await answer(open_local())
    loading = [event for event in events if isinstance(event, Status) and event.status == "loading"]
    assert loading.pop(0).detail == "starting the engine"
    assert all(event.total == 1000 and 0 <= event.done <= 1000 for event in loading)


async def test_start_and_loading_are_the_model_load_stage_and_the_account_adds_up(open_local: OpenLocal) -> None:
    local = open_local()
    timeline, loop = Timeline(), asyncio.get_running_loop()
    called = loop.time()
    async for event in local.stream(ask()):
        timeline.add(event, (loop.time() - called) * 1000)
    ttft = timeline.first_token_ms
    assert ttft is not None
    bill = account(timeline.spans(ttft), ttft)
    parts = dict(bill.parts)
    assert sum(parts.values()) + bill.unattributed == pytest.approx(ttft)
    assert parts["model_load"] > ttft / 2  # a process start outweighs a prefill of a few tokens
    (load,) = [span for span in timeline.spans(ttft) if span.stage == "model_load" and span.by == "derived"]
    assert load.offset == 0.0


async def test_what_the_child_reports_is_on_the_clock_of_our_call(open_local: OpenLocal) -> None:
    loop = asyncio.get_running_loop()
    called = loop.time()
    events = await answer(open_local())
    total = (loop.time() - called) * 1000
    metas = [event for event in events if isinstance(event, Meta)]
    prefill = next(span for meta in metas for span in meta.spans if span.stage == "prefill")
    load = next(span for meta in metas for span in meta.spans if span.by == "derived" and span.stage == "model_load")
    done = events[-1]
    assert isinstance(done, Done)
    assert load.end - 50 < prefill.offset < prefill.end <= done.latency <= total


async def test_an_answer_stands_still_for_as_long_as_any_service_allows(open_local: OpenLocal) -> None:
    local = open_local()
    async with aclosing(local.stream(ChatRequest((Message("user", "pause"),), key="paused"))) as events:
        await anext(event async for event in events if isinstance(event, Token))
        assert local._link is not None
        assert local._link.native._answers["paused"]._grace == 3600  # `llmchat serve --resume-grace` takes no more


async def test_a_second_question_meets_a_running_engine(open_local: OpenLocal, settings: Settings) -> None:
    local = open_local()
    await answer(local)
    pid = child(settings)
    events = await answer(local)
    assert Status("loading", detail="starting the engine") not in events
    assert not [
        span
        for event in events
        if isinstance(event, Meta)
        for span in event.spans
        if span.by == "derived" and span.stage == "model_load"
    ]
    assert child(settings) == pid


async def test_questions_asked_at_once_share_one_start(open_local: OpenLocal, settings: Settings) -> None:
    local = open_local()
    answers = await asyncio.gather(*(answer(local) for _ in range(3)))
    assert all(isinstance(events[-1], Done) for events in answers)
    assert len(endpoints(settings)) == 1


async def test_warm_starts_the_engine(open_local: OpenLocal, settings: Settings) -> None:
    local = open_local()
    await local.warm(ask())
    assert is_running(child(settings))
    assert Status("loading", detail="starting the engine") not in await answer(local)


async def test_a_hint_before_any_message_is_met_by_loading_and_then_by_nothing(open_local: OpenLocal) -> None:
    local = open_local()
    while isinstance(met := await local.warm(ChatRequest(())), Status):
        assert (met.status, met.total) == ("loading", 1000)
        await asyncio.sleep(0.01)
    assert met is None


async def test_the_child_ends_after_its_client_and_leaves_no_zombie(open_local: OpenLocal, settings: Settings) -> None:
    local = open_local()
    await answer(local)
    pid = child(settings)
    await local.aclose()
    wait_until(lambda: not is_there(pid), "the child to be reaped")
    assert endpoints(settings) == []


async def test_closing_cancels_down_to_the_engine(open_local: OpenLocal) -> None:
    local = open_local()
    events = local.stream(ask(max_tokens=10_000))
    async with aclosing(events):
        await first_token(events)
    async with asyncio.timeout(30):  # the streams share cells: were the first one running, four more would wait for it
        for _ in range(4):
            assert isinstance((await answer(local))[-1], Done)


async def test_a_closed_backend_says_so(open_local: OpenLocal) -> None:
    local = open_local()
    events = local.stream(ask(max_tokens=10_000))
    await first_token(events)
    await local.aclose()
    rest = [event async for event in events if not isinstance(event, Token)]
    assert isinstance(rest[-1], Error)
    assert rest[-1].code == Code.SHUTDOWN
    (only,) = [event for event in await answer(local) if isinstance(event, Error)]
    assert only.code == Code.SHUTDOWN


async def test_closing_reaches_streams_of_a_spent_child(open_local: OpenLocal, settings: Settings) -> None:
    local = open_local()
    old = local.stream(ask(max_tokens=15_000))
    await first_token(old)
    assert local._link is not None
    local._link.spent = True  # as after an error that another of its streams had
    assert isinstance((await answer(local))[-1], Done)
    await first_token(old)  # not disturbed
    assert len(local._links) == 2
    await local.aclose()
    last = [event async for event in old][-1]
    assert isinstance(last, Error)
    assert last.code == Code.SHUTDOWN


async def test_a_spent_child_is_left_when_its_last_stream_is_closed(open_local: OpenLocal) -> None:
    local = open_local()
    events = local.stream(ask(max_tokens=15_000))
    await first_token(events)
    link = local._link
    assert link is not None
    link.spent = True
    await events.aclose()  # type: ignore[attr-defined]
    assert not link.attachment.alive
    assert not local._links


async def test_closing_while_it_starts_leaves_nothing(open_local: OpenLocal) -> None:
    local = open_local()
    events = local.stream(ask())
    assert await anext(events) == Status("loading", detail="starting the engine")
    async with asyncio.TaskGroup() as group:
        warming = group.create_task(local.warm(ask()))
        last_event = group.create_task(anext(events))
        await asyncio.sleep(0.1)  # into the start, wherever that finds it
        await local.aclose()
    assert warming.done()
    last = last_event.result()
    assert isinstance(last, Error)
    assert last.code == Code.SHUTDOWN


async def test_the_child_is_apart_from_the_terminal(open_local: OpenLocal, settings: Settings) -> None:
    await answer(open_local())
    assert os.getsid(child(settings)) != os.getsid(0)


async def test_a_paused_answer_goes_on_where_it_stood(open_local: OpenLocal, spec: Spec) -> None:
    """As `serve` does with it while its own reader is away."""
    exact = msgspec.structs.replace(spec.engine, kv_type="f32")  # company leaves the sums as they are
    local = open_local(Spec(exact))
    alone = await answer(local, ask(max_tokens=1_000))
    request = msgspec.structs.replace(ask(max_tokens=1_000), key="k")
    got: list[Event] = []
    async with aclosing(local.stream(request)) as events:
        async for event in events:
            got.append(event)
            if len(got) == 12:
                local.pause("k")
                next_one = asyncio.ensure_future(anext(events))
                assert (await answer(local, ask(max_tokens=2)))[-1]  # another one goes on meanwhile
                local.resume("k")
                got.append(await next_one)
    assert text_of(got) == text_of(alone)
    assert isinstance(got[-1], Done)
