"""Hints: what is being typed is computed ahead, when nobody else needs the engine, and is cached when it is asked."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from backends.backend import ChatRequest, Message
from backends.engine import Engine
from backends.engine.loop import HINT_CHUNK, StepLoop
from backends.engine.prompt import certain_prompt
from backends.engine.runner import ABORTED, Job, Runner
from backends.engine.sequence import Sequence
from tests.engine.answers import GREEDY, Answer, ask, read
from tests.engine.conftest import StartEngine
from tests.fakes.gguf_model import write_model

SYSTEM = "the annual plan and the invoice of the refund, pause the plan. " * 8
QUESTION = "pause the annual plan, refund the invoice and the plan"


def chat(*contents: str, system: str = SYSTEM) -> ChatRequest:
    turns = [Message("assistant" if index % 2 else "user", content) for index, content in enumerate(contents)]
    return ChatRequest((Message("system", system), *turns), max_tokens=12, sampling=GREEDY)


def steps_of(engine: Engine) -> StepLoop:
    assert engine._steps is not None
    return engine._steps


async def rested(engine: Engine) -> None:
    """Wait until hints are computed and nobody runs."""
    steps = steps_of(engine)
    while steps._inbox.is_full or steps._queue.hint or steps._live or steps._running or steps._memory.unsettled:  # noqa: ASYNC110
        await asyncio.sleep(0.001)


async def uncached(engine: Engine, request: ChatRequest) -> tuple[int, str]:
    """Tokens of the prompt that had to be computed, and the answer."""
    answer = await read(engine.stream(request))
    meta = answer.metas[0]
    assert meta.prompt_tokens is not None
    assert meta.cached_tokens is not None
    return meta.prompt_tokens - meta.cached_tokens, answer.text


@pytest.mark.parametrize("residency", ["host", "device"])
async def test_what_was_typed_is_cached_when_it_is_asked(start: StartEngine, residency: str) -> None:
    engine, plain = await start(kv_residency=residency), await start(kv_residency="none")
    for end in (10, 22, 30, len(QUESTION)):
        await engine.warm(chat(QUESTION[:end]))
        await rested(engine)
    left, text = await uncached(engine, chat(QUESTION))
    everything, expected = await uncached(plain, chat(QUESTION))
    assert text == expected
    assert left < 25 < 150 < everything


@pytest.mark.parametrize("residency", ["host", "device"])
async def test_what_hints_bought_is_told_apart_from_what_was_there(start: StartEngine, residency: str) -> None:
    """A turn that nobody typed ahead, the next one typed in three parts, and the same again."""
    engine = await start(kv_residency=residency)
    first = await read(engine.stream(chat(QUESTION)))
    turns, typed = (QUESTION, first.text), QUESTION * 5
    for end in (70, 140, len(typed)):
        await engine.warm(chat(*turns, typed[:end]))
        await rested(engine)
    second = await read(engine.stream(chat(*turns, typed)))
    again = await read(engine.stream(chat(*turns, typed)))
    then, now, after = (answer.metas[0] for answer in (first, second, again))
    there = (then.prompt_tokens or 0) + first.done.total_tokens - 1
    assert then.warmed_tokens is None
    assert now.cached_tokens is not None
    assert now.warmed_tokens is not None
    assert now.warmed_tokens > 50
    assert now.cached_tokens - now.warmed_tokens == pytest.approx(there, abs=2)
    assert (after.warmed_tokens, after.cached_tokens) == (None, (after.prompt_tokens or 0) - 1)


async def test_drafts_leave_no_crowd_in_the_kv_cache(start: StartEngine) -> None:
    """On a CPU the newest draft stays there, without a copy at every pause of the typing; older ones are copied out."""
    engine = await start()
    memory = steps_of(engine)._memory
    for end in range(4, len(QUESTION), 5):
        await engine.warm(chat(QUESTION[:end]))
        await rested(engine)
        assert sum(1 for _ in memory.cache.resident()) <= 2
        assert len(memory.cache) <= 2, "a draft that goes on takes the place of the one before"
    for number in range(4):
        await engine.warm(chat(QUESTION, system=f"{number} {SYSTEM}"))
        await rested(engine)
    await uncached(engine, chat(QUESTION))
    assert sum(1 for _ in memory.cache.resident()) <= 2


async def test_without_a_draft_the_conversation_so_far_is_computed(start: StartEngine) -> None:
    """What a backend with documents passes on: everything before the question, whose sources are not known yet."""
    engine = await start()
    await engine.warm(chat("pause", "the annual plan"))
    await rested(engine)
    left, _ = await uncached(engine, chat("pause", "the annual plan", "invoice"))
    assert left < 16
    await engine.warm(chat(system="2 " + SYSTEM))
    await rested(engine)
    left, _ = await uncached(engine, chat("invoice", system="2 " + SYSTEM))
    assert left < 16


async def test_a_hint_waits_for_those_who_want_answers(start: StartEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = await start()
    steps, decode = steps_of(engine), Runner.decode
    companies: list[int] = []

    def spy(self: Runner, jobs: list[Job]) -> int:
        if steps._running.hint is not None:
            companies.append(len(jobs))
            assert sum(len(job.tokens) for job in jobs) <= HINT_CHUNK
            assert not steps._live
        return decode(self, jobs)

    monkeypatch.setattr(Runner, "decode", spy)
    async with aclosing(cast("Any", engine.stream(chat("refund")))) as running:
        await anext(running)
        await engine.warm(chat(QUESTION, system="2 " + SYSTEM))
        answer = Answer([event async for event in running])
    assert answer.done.finish_reason == "length"
    await rested(engine)
    assert len(companies) >= 2
    assert set(companies) == {1}


async def test_a_request_ends_a_hint_within_a_chunk_and_takes_its_cells(
    start: StartEngine, slow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, plain = await start(model=str(slow)), await start(model=str(slow), kv_residency="none")
    steps, submit, decode = steps_of(engine), StepLoop.submit, Runner.decode
    log: list[str] = []
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    def logging_submit(self: StepLoop, sequence: Sequence) -> None:
        submit(self, sequence)
        log.append("submitted")

    def logging_decode(self: Runner, jobs: list[Job]) -> int:
        code = decode(self, jobs)
        log.append("request" if steps._running.hint is None else "hint")
        if log.count("hint") == 2:
            loop.call_soon_threadsafe(begun.set)
        return code

    monkeypatch.setattr(StepLoop, "submit", logging_submit)
    monkeypatch.setattr(Runner, "decode", logging_decode)
    request = msgspec.structs.replace(chat(QUESTION, system=SYSTEM * 5), feature="completion")  # no next turn
    await engine.warm(request)
    await begun.wait()
    left, text = await uncached(engine, request)
    chunks = log.count("hint")
    assert log[log.index("submitted") :].count("hint") <= 1
    everything, expected = await uncached(plain, request)
    assert text == expected
    assert left <= max(25, everything - chunks * HINT_CHUNK)
    await rested(engine)
    assert log.count("hint") == chunks, "it goes on though the request has come"


async def test_the_newest_hint_wins(start: StartEngine, slow: Path) -> None:
    engine = await start(model=str(slow))
    requests = [chat(QUESTION, system=f"{number} " + SYSTEM * 4) for number in range(4)]
    await asyncio.gather(*(engine.warm(request) for request in requests))
    await rested(engine)
    left, _ = await uncached(engine, requests[-1])
    assert left < 25
    kept = steps_of(engine)._memory.cache
    assert len(kept) <= 4


async def test_a_hint_never_fails(start: StartEngine, tmp_path: Path) -> None:
    template = "{% if messages[0].content == 'no' %}{{ raise_exception('say something') }}{% endif %}x"
    engine = await start(model=str(write_model(tmp_path / "model.gguf", template=template)))
    await engine.warm(chat("pause", system="no"))
    await engine.warm(ChatRequest(()))
    engine = await start()
    await engine.warm(chat("refund " * 3000))
    await engine.warm(ChatRequest(()))
    await rested(engine)
    assert (await ask(engine)).done.finish_reason == "length"
    await engine.aclose()
    await engine.warm(chat("pause"))


async def test_switched_off_hints_cost_nothing(start: StartEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = await start(kv_residency="none")
    decoded: list[int] = []
    monkeypatch.setattr(Runner, "decode", lambda self, jobs: decoded.append(1))
    await engine.warm(chat(QUESTION))
    await rested(engine)
    assert decoded == []


async def test_a_hint_that_llama_cpp_refuses_is_forgotten(start: StartEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = await start()
    decode = Runner.decode
    monkeypatch.setattr(Runner, "decode", lambda self, jobs: -1)
    await engine.warm(chat(QUESTION))
    await rested(engine)
    monkeypatch.setattr(Runner, "decode", decode)
    assert (await ask(engine)).done.finish_reason == "length"


async def test_closing_ends_a_hint(start: StartEngine, slow: Path) -> None:
    engine = await start(model=str(slow))
    await engine.warm(chat(QUESTION, system=SYSTEM * 10))
    await engine.aclose()
    assert engine.state == "closed"


@pytest.mark.parametrize("residency", ["host", "device"])
async def test_after_an_answer_what_the_next_turn_begins_with_is_computed(
    start: StartEngine, monkeypatch: pytest.MonkeyPatch, residency: str
) -> None:
    """Up to what will be typed: the answer as its text is tokenized, its end and the head of the turn."""
    engine, plain = await start(kv_residency=residency), await start(kv_residency="none")
    shared: list[int] = []
    monkeypatch.setattr(Runner, "share", lambda *_: shared.append(1))
    first = chat("pause")
    answer = await read(engine.stream(first))
    following = chat("pause", answer.text, "invoice")
    runner, template = engine._runner, engine._template
    assert runner is not None
    assert template is not None
    certain = certain_prompt(runner, template, chat("pause", answer.text))
    while len(certain) not in (kept := [it.tokens for it in steps_of(engine)._memory.cache]):  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    assert len(kept) == 1
    await rested(engine)
    left, text = await uncached(engine, following)
    everything, expected = await uncached(plain, following)
    assert (everything - left, text) == (len(certain), expected)
    assert shared == [], "who goes on alone takes the cells over"


async def test_a_request_of_another_conversation_aborts_a_hint(
    start: StartEngine, slow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await start(model=str(slow))
    decode, codes, begun = Runner.decode, list[int](), asyncio.Event()
    loop, steps = asyncio.get_running_loop(), steps_of(engine)

    def watched(self: Runner, jobs: list[Job]) -> int:
        if steps._running.hint is None:
            return decode(self, jobs)
        loop.call_soon_threadsafe(begun.set)
        while not codes and not steps._inbox.is_full:  # the request comes while this step computes
            time.sleep(0.001)
        codes.append(decode(self, jobs))
        return codes[-1]

    monkeypatch.setattr(Runner, "decode", watched)
    await engine.warm(chat(QUESTION, system=SYSTEM * 5))
    await begun.wait()
    assert (await ask(engine)).done.finish_reason == "length"
    assert codes[0] == ABORTED
