"""More than fits: the cache never overflows, everybody is answered or refused, shared prefixes count once."""

from __future__ import annotations

import asyncio

import pytest

from backends.engine.runner import DECODED, Job, Runner
from backends.events import Done, Error
from tests.engine.answers import Answer, ask
from tests.engine.conftest import StartEngine

CLIENTS = 100


@pytest.fixture
def codes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What llama.cpp said to every batch."""
    seen: list[int] = []
    decode = Runner.decode

    def spy(self: Runner, jobs: list[Job]) -> int:
        seen.append(decode(self, jobs))
        return seen[-1]

    monkeypatch.setattr(Runner, "decode", spy)
    return seen


async def test_a_hundred_large_requests_against_cells_for_eight(start: StartEngine, codes: list[int]) -> None:
    """Prompts of 110 tokens that have nothing in common, against cells for eight of them and a queue of 60."""
    engine = await start(max_streams=32, n_ctx=128, kv_cells=8 * 128, max_queue=60)
    assert engine.info is not None
    prompts = [f"{number:03}" * 32 for number in range(CLIENTS)]
    answers = await asyncio.gather(*(ask(engine, prompt, 12) for prompt in prompts))
    refused = [answer.end for answer in answers if isinstance(answer.end, Error)]
    assert {(error.code, error.retryable) for error in refused} == {("OVERLOADED", True)}
    assert all(error.retry_after and error.retry_after > 0 for error in refused)
    answered = [answer for answer in answers if isinstance(answer.end, Done)]
    assert 68 <= len(answered) == CLIENTS - len(refused) < CLIENTS
    assert all(answer.done.total_tokens == 12 for answer in answered)
    assert all(meta.kv_used <= engine.info.kv_cells for answer in answered for meta in answer.metas if meta.kv_used)
    assert set(codes) == {DECODED}
    number = answers.index(answered[-1])
    assert (await ask(engine, prompts[number], 12)).text == answered[-1].text


async def test_a_shared_prefix_is_promised_once(start: StartEngine, codes: list[int]) -> None:
    """Six requests of some 330 tokens share 300 of them: in 512 cells they run together."""
    engine, alone = await start(max_streams=6, kv_cells=512), await start(kv_residency="none")
    prompts = ["1234567890" * 30 + str(number) for number in range(6)]
    expected = [(await ask(alone, prompt, 10)).text for prompt in prompts]
    codes.clear()
    answers = await asyncio.gather(*(ask(engine, prompt, 10) for prompt in prompts))
    assert [answer.text for answer in answers] == expected
    assert not any(status.position for answer in answers for status in answer.statuses("queued"))
    assert sorted((answer.metas[0].cached_tokens or 0) >= 230 for answer in answers) == [False] + [True] * 5
    assert max(meta.kv_used or 0 for answer in answers for meta in answer.metas) <= 512
    assert set(codes) == {DECODED}


async def test_with_separate_prefixes_the_same_cells_hold_one(start: StartEngine) -> None:
    engine = await start(max_streams=6, kv_cells=512)
    answers: list[Answer] = await asyncio.gather(*(ask(engine, f"{number}" * 300, 10) for number in range(3)))
    assert sorted(any(status.position for status in answer.statuses("queued")) for answer in answers) == [
        False,
        True,
        True,
    ]
