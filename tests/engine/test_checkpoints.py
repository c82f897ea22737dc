"""Models without a divisible memory: whole states are kept, and prompts go on from them exactly."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from backends.backend import ChatRequest, Message
from backends.engine.checkpoints import Checkpoint, Checkpoints
from backends.engine.prefix_cache import pack
from tests.engine.answers import GREEDY, Answer, ask, read
from tests.engine.conftest import StartEngine
from tests.fakes.recurrent_model import write_recurrent_model

QUESTION = "the annual plan and the invoice " * 8


def state(size: int) -> np.ndarray:
    return np.zeros(size, np.uint8)


def test_the_longest_one_that_a_prompt_begins_with_is_found() -> None:
    kept = Checkpoints(1000)
    short, long, other = state(1), state(2), state(3)
    for tokens, each in (([1, 2], short), ([1, 2, 3, 4], long), ([1, 9], other)):
        kept.add("", pack(tokens), each)
    assert kept.find("", pack([1, 2, 3, 4, 5])) == Checkpoint(4, long)
    assert kept.find("", pack([1, 2, 3, 4])) == Checkpoint(4, long)
    assert kept.find("", pack([1, 2, 3, 5])) == Checkpoint(2, short)
    assert kept.find("", pack([1])) is None
    assert kept.find("somebody else", pack([1, 2, 3, 4])) is None
    assert kept.has("", pack([1, 9]))
    assert not kept.has("", pack([1]))


def test_the_bytes_stay_within_their_limit() -> None:
    kept = Checkpoints(100)
    kept.add("", pack([1]), state(60))
    kept.add("", pack([2]), state(40))
    assert kept.find("", pack([1, 0])) is not None
    kept.add("", pack([3]), state(30))
    assert (kept.bytes, len(kept)) == (90, 2)
    assert kept.find("", pack([2, 0])) is None, "the least recently used one has gone"
    kept.add("", pack([1]), state(10))
    assert (kept.bytes, len(kept)) == (40, 2), "the same tokens once"
    kept.add("", pack([4]), state(101))
    assert (kept.bytes, len(kept)) == (40, 2)


def test_a_draft_takes_the_place_of_the_last_one() -> None:
    kept = Checkpoints(100)
    for token in (1, 2, 3):
        kept.add("", pack([token]), state(10), draft=True)
    kept.add("", pack([4]), state(10))
    assert (kept.bytes, len(kept)) == (20, 2)


@pytest.fixture(scope="module", params=["recurrent", "hybrid"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / f"{request.param}.gguf"
    return write_recurrent_model(path, hybrid=request.param == "hybrid")


def talk(*contents: str) -> ChatRequest:
    turns = (Message(("user", "assistant")[index % 2], content) for index, content in enumerate(contents))
    return ChatRequest(tuple(turns), max_tokens=20, sampling=GREEDY)


def counts(answer: Answer) -> tuple[int, int]:
    """Tokens of the prompt, and how many of them were there already."""
    first = answer.metas[0]
    assert first.prompt_tokens is not None
    assert first.cached_tokens is not None
    return first.prompt_tokens, first.cached_tokens


async def test_the_next_turn_goes_on_from_the_last_one(start: StartEngine, model: Path) -> None:
    fresh = await start(model=str(model), kv_residency="none")
    engine = await start(model=str(model))
    first = await read(engine.stream(talk(QUESTION)))
    prompt, cached = counts(first)
    assert cached == 0
    following = talk(QUESTION, first.text, "refund")
    second = await read(engine.stream(following))
    assert counts(second)[1] >= prompt, "the prompt at least; the answer too, where its text gives its tokens again"
    assert second.text == (await read(fresh.stream(following))).text
    other = talk(QUESTION, "something else", "refund")
    third = await read(engine.stream(other))
    assert counts(third)[1] == prompt
    assert third.text == (await read(fresh.stream(other))).text
    assert counts(await read(fresh.stream(other)))[1] == 0


async def test_what_parts_earlier_begins_anew(start: StartEngine, model: Path) -> None:
    engine = await start(model=str(model))
    await ask(engine, QUESTION)
    parted = await ask(engine, QUESTION[:-10] + "x" + QUESTION[-9:])
    assert counts(parted)[1] == 0


async def test_going_on_in_company_changes_nothing(start: StartEngine, model: Path) -> None:
    engine = await start(model=str(model), max_streams=4, prefill_chunk=24)
    first = await read(engine.stream(talk(QUESTION)))
    requests = [talk(QUESTION, first.text, word) for word in ("pause", "invoice", "refund", "plan")]
    together = await asyncio.gather(*(read(engine.stream(request)) for request in requests))
    alone = [await read(engine.stream(request)) for request in requests]
    assert [answer.text for answer in together] == [answer.text for answer in alone]
    assert all(counts(answer)[1] > 0 for answer in (*together, *alone))


async def test_a_hint_is_gone_on_from(start: StartEngine, model: Path) -> None:
    engine = await start(model=str(model))
    await engine.warm(talk(QUESTION + "pau"))
    assert engine._steps is not None
    async with asyncio.timeout(30):
        while not engine._steps._memory.checkpoints:  # noqa: ASYNC110  a hint tells nobody that it is through
            await asyncio.sleep(0.01)
    prompt, cached = counts(await ask(engine, QUESTION + "pause"))
    assert prompt - 30 < cached < prompt


async def test_a_cancelled_answer_leaves_its_prompt_behind(start: StartEngine, model: Path) -> None:
    engine = await start(model=str(model))
    stream = engine.stream(talk(QUESTION))
    async for event in stream:
        if type(event).__name__ == "Token":
            break
    await stream.aclose()
    following = await read(engine.stream(talk(QUESTION, "something else", "refund")))
    assert counts(following)[1] > 64
