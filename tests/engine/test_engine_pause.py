"""Pausing: from the next step on, at nobody else's cost, and without losing a token."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import Any, cast

import pytest

from backends.engine import Engine
from backends.engine.inbox import Inbox, Mail
from backends.engine.runner import ABORTED
from backends.events import Event, Token
from tests.engine.answers import Answer, ask, read, request
from tests.engine.conftest import StartEngine
from tests.engine.test_engine_cancel import WIDE, Decodes, decodes  # noqa: F401


async def eventually(true: Any) -> None:
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110 - looks at what has no event
            await asyncio.sleep(0.002)


class Paused:
    """A long answer that was paused after its first token; `rest` lets it go on and reads it to its end."""

    def __init__(self, engine: Engine, content: str, max_tokens: int) -> None:
        self._engine = engine
        self.stream = cast("Any", engine.stream(request(content, max_tokens, key="k")))
        self.events: list[Event] = []

    async def pause(self) -> Paused:
        async for event in self.stream:
            self.events.append(event)
            if isinstance(event, Token):
                break
        self._engine.pause("k")
        await eventually(lambda: self._engine._submitted["k"].is_parked)
        return self

    async def rest(self) -> Answer:
        self._engine.resume("k")
        self.events += [event async for event in self.stream]
        return Answer(self.events)


async def test_an_answer_goes_on_as_if_nothing_had_been(start: StartEngine) -> None:
    engine = await start()
    alone = (await ask(engine, "pause", 300)).text
    paused = await Paused(engine, "pause", 300).pause()
    neighbour = (await ask(engine, "refund", 30)).text
    assert (await paused.rest()).text == alone
    assert neighbour == (await ask(engine, "refund", 30)).text


async def test_a_long_prefill_is_interrupted(start: StartEngine, slow: Path, decodes: Decodes) -> None:  # noqa: F811
    engine = await start(model=str(slow), prefill_chunk=4000, n_batch=4096, n_ubatch=512, kv_cells=8192)
    reading = asyncio.create_task(read(engine.stream(request(WIDE, 20, key="k"))))
    assert await asyncio.to_thread(decodes.long.wait, 60)
    engine.pause("k")
    neighbour = await ask(engine, "refund", 20)
    assert ABORTED in decodes.codes
    assert not reading.done()
    engine.resume("k")
    answer = await reading
    assert answer.tokens == 20
    assert neighbour.text == (await ask(engine, "refund", 20)).text
    prefill = next(span for span in answer.metas[0].spans if span.stage == "prefill")
    assert prefill.offset + prefill.duration <= (answer.metas[0].latency or 0)


async def test_before_it_has_begun(start: StartEngine) -> None:
    engine = await start()
    engine.pause("k")
    reading = asyncio.create_task(read(engine.stream(request("pause", 20, key="k"))))
    await eventually(lambda: "k" in engine._submitted)
    assert (await ask(engine, "refund", 20)).tokens == 20
    assert not reading.done()
    engine.resume("k")
    assert (await reading).tokens == 20


async def test_nobody_is_woken_while_it_stands_still(start: StartEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[Mail] = []
    take = Inbox.take

    def spy(self: Inbox) -> Mail:
        looks.append(take(self))
        return looks[-1]

    engine = await start()
    paused = await Paused(engine, "pause", 300).pause()
    monkeypatch.setattr(Inbox, "take", spy)
    await ask(engine, "refund", 5)
    asked = len(looks)
    await asyncio.sleep(0.1)
    assert len(looks) <= asked + 2  # after the last step, and to settle what it left
    await paused.rest()


@pytest.mark.parametrize("batching", ["dynamic", "static"])
async def test_a_batch_does_not_wait_for_it(start: StartEngine, batching: str) -> None:
    engine = await start(batching=batching, max_queue_ms=20, max_streams=2)
    paused = await Paused(engine, "pause", 300).pause()
    assert (await ask(engine, "refund", 10)).tokens == 10
    assert (await paused.rest()).tokens == 300


@pytest.mark.parametrize("options", [{"max_streams": 1}, {"kv_cells": 512}])
async def test_it_gives_way_to_who_has_no_room(start: StartEngine, options: dict[str, int]) -> None:
    engine = await start(**options)
    paused = await Paused(engine, "pause", 300).pause()
    assert (await ask(engine, "refund", 300)).tokens == 300
    answer = await paused.rest()
    assert (answer.error.code, answer.error.retryable) == ("INTERRUPTED", True)


async def test_who_waits_in_line_is_passed_by_and_the_first_to_be_refused(start: StartEngine) -> None:
    engine = await start(max_streams=1, max_queue=1)
    running = asyncio.create_task(ask(engine, "invoice", 400))
    await eventually(lambda: engine._steps is not None and len(engine._steps._running) == 1)
    engine.pause("k")
    first = asyncio.create_task(read(engine.stream(request("pause", 20, key="k"))))
    await eventually(lambda: "k" in engine._submitted)
    second = asyncio.create_task(ask(engine, "refund", 20))
    assert (await first).error.code == "OVERLOADED"
    assert (await second).tokens == 20
    await running
    engine.resume("k")


async def test_typing_ahead_goes_on_beside_it(start: StartEngine) -> None:
    engine = await start()
    paused = await Paused(engine, "pause", 300).pause()
    steps = engine._steps
    assert steps is not None
    kept = len(list(steps._memory.cache.resident()))
    await engine.warm(request("the annual plan and the invoice " * 8))
    await eventually(lambda: len(list(steps._memory.cache.resident())) > kept)
    warmed = await ask(engine, "the annual plan and the invoice " * 8, 4)
    assert (warmed.metas[0].cached_tokens or 0) > 30
    assert (await paused.rest()).tokens == 300


async def test_closed_while_it_is_paused(start: StartEngine) -> None:
    engine = await start()
    paused = await Paused(engine, "pause", 300).pause()
    async with aclosing(paused.stream):
        pass
    engine.resume("k")
    steps = engine._steps
    assert steps is not None
    await eventually(lambda: not len(steps._running))
    assert (engine._submitted, engine._paused) == ({}, set())
