"""The engine on the model that ships: quantized, trained, with an end of turn of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from backends.backend import ChatRequest, Message
from backends.demo import MODEL
from backends.engine import Engine, EngineOptions
from backends.rag.prompt import SYSTEM, render_source, render_user_turn
from tests.engine.answers import GREEDY, Answer, read

PAUSING = render_source("S1", "Pausing", "Annual subscriptions can be paused once for up to 60 days.")
QUESTION = render_user_turn([PAUSING], "Can I pause my annual subscription?")


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    engine = Engine(EngineOptions(model=str(MODEL)))
    await engine.ready()
    yield engine
    await engine.aclose()


async def ask(engine: Engine, *messages: Message) -> Answer:
    return await read(engine.stream(ChatRequest(messages, sampling=GREEDY)))


async def test_it_answers_and_ends_by_itself(engine: Engine) -> None:
    greeting, answer = await asyncio.gather(
        ask(engine, Message("user", "Hello!")), ask(engine, Message("system", SYSTEM), Message("user", QUESTION))
    )
    for said in (greeting, answer):
        assert said.done.finish_reason == "stop"
        assert said.done.total_tokens == said.tokens > 2
        assert "<|im_" not in said.text


async def test_its_context_holds_a_conversation(engine: Engine) -> None:
    info = engine.info
    assert info is not None
    assert info.n_ctx == info.n_ctx_train >= 2048
    assert info.kv_cells >= info.n_ctx
    turns = [Message(role, QUESTION) for _ in range(5) for role in ("user", "assistant")]
    answer = await ask(engine, *turns, Message("user", "Hello!"))
    assert answer.done.finish_reason in ("stop", "length")
    assert (answer.metas[0].prompt_tokens or 0) > 5 * engine.count_tokens(QUESTION)


async def test_its_prompt_is_small_enough_for_sources(engine: Engine) -> None:
    assert engine.count_tokens(QUESTION) < len(QUESTION) / 2


async def test_a_quantized_cache_is_cheaper() -> None:
    costs = []
    for kv_type in ("f16", "q8_0"):
        engine = Engine(EngineOptions(model=str(MODEL), kv_type=kv_type, n_ctx=1024))
        try:
            answer = await ask(engine, Message("user", "Hello!"))
        finally:
            await engine.aclose()
        costs.append(answer.metas[0].kv_bytes_per_token or 0)
        assert answer.done.finish_reason == "stop"
    assert costs[1] * 32 == costs[0] * 17
