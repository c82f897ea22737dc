"""What one partition has asked is no quicker in another: prefixes are found, and shared, within a partition only."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from backends.backend import ChatRequest, Message
from backends.engine import Engine
from backends.engine.prefix_cache import Costs
from tests.engine.answers import GREEDY, Answer, read
from tests.engine.conftest import StartEngine
from tests.fakes.recurrent_model import write_recurrent_model

SYSTEM = "the annual plan and the invoice of the refund, pause the plan. " * 5
QUESTION = ChatRequest((Message("system", SYSTEM), Message("user", "pause")), max_tokens=8, sampling=GREEDY)


@pytest.fixture(autouse=True)
def always_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether restoring pays depends on the machine's mood; here it always does."""
    monkeypatch.setattr(Costs, "worth_restoring", lambda self, tokens, size: True)


async def ask(engine: Engine, partition: str, request: ChatRequest = QUESTION) -> Answer:
    return await read(engine.stream(msgspec.structs.replace(request, partition=partition)))


async def rested(engine: Engine) -> None:
    """Wait until nobody runs and what is kept is where it is to rest."""
    steps = engine._steps
    assert steps is not None
    while steps._live or steps._inbox.is_full or steps._queue.hint or steps._running or steps._memory.unsettled:  # noqa: ASYNC110
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("residency", ["host", "device"])
async def test_a_prefix_is_found_in_its_own_partition_only(start: StartEngine, residency: str) -> None:
    engine = await start(kv_residency=residency)
    found = {}
    for name, partition in (("first", "a"), ("other", "b"), ("nobody", ""), ("again", "a"), ("other again", "b")):
        answer = await ask(engine, partition)
        found[name] = answer.metas[0].cached_tokens
        await rested(engine)
    assert (found["first"], found["other"], found["nobody"]) == (0, 0, 0)
    assert (found["again"] or 0) > 64
    assert found["other again"] == found["again"]


async def test_states_are_found_in_their_own_partition_only(start: StartEngine, tmp_path: Path) -> None:
    engine = await start(model=str(write_recurrent_model(tmp_path / "recurrent.gguf")))
    first = await ask(engine, "a")
    turns = (*QUESTION.messages, Message("assistant", first.text), Message("user", "refund"))
    following = msgspec.structs.replace(QUESTION, messages=turns)
    assert (await ask(engine, "b", following)).metas[0].cached_tokens == 0
    assert (await ask(engine, "a", following)).metas[0].cached_tokens


async def test_partitions_do_not_compute_for_each_other(start: StartEngine, slow: Path) -> None:
    engine = await start(model=str(slow))
    one, same, other = await asyncio.gather(ask(engine, "a"), ask(engine, "a"), ask(engine, "b"))
    assert one.text == same.text == other.text
    assert same.metas[0].cached_tokens, "it waited for the first"
    assert not other.metas[0].cached_tokens
    assert not any("another request" in status.detail for status in other.statuses("queued"))


async def test_what_is_typed_in_one_partition_helps_only_there(start: StartEngine) -> None:
    engine = await start()
    await engine.warm(msgspec.structs.replace(QUESTION, partition="a"))
    await rested(engine)
    assert (await ask(engine, "b")).metas[0].cached_tokens == 0
    assert ((await ask(engine, "a")).metas[0].cached_tokens or 0) > 64
