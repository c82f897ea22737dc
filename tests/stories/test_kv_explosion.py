"""Story 4: a hundred users come at once, everybody is let in, and the KV cache is full in the middle of their answers.

What is measured is KV cells.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from backends.backend import ChatRequest, Message, Sampling
from backends.engine.options import EngineOptions
from backends.engine.runner import NO_CELLS, Job, Runner
from backends.events import Done, Error, Event, Meta
from tests.stories.conftest import StartEngine

USERS = 100
CELLS = 1_024
ANSWER = 32


def test_letting_everybody_in_fills_the_cache_in_the_middle_of_the_answers(tiny: Path) -> None:
    options = EngineOptions(model=str(tiny), kv_cells=CELLS, n_ctx=CELLS, max_streams=USERS, n_threads=1, draft="off")
    runner = Runner(options, lambda part: True)
    try:
        token = runner.tokenize("plan", False)[0]
        for step in range(ANSWER):
            code = runner.decode([Job(user, step, [token], 1) for user in range(USERS)])
            if code == NO_CELLS:
                break
        assert code == NO_CELLS
        assert 0 < step < ANSWER  # everybody had begun, and nobody can end
    finally:
        runner.close()


async def test_whoever_is_let_in_can_end_and_the_others_wait_or_are_told(start: StartEngine) -> None:
    engine = await start(kv_cells=CELLS, n_ctx=CELLS, max_streams=16, max_queue=64, kv_residency="none")
    most = 0

    async def user(number: int) -> Event:
        nonlocal most
        request = ChatRequest(
            (Message("user", f"pause plan number {number}"),), max_tokens=ANSWER, sampling=Sampling(temperature=0)
        )
        last: Event | None = None
        async for event in engine.stream(request):
            if isinstance(event, Meta):
                most = max(most, event.kv_used or 0)
            last = event
        assert last is not None
        return last

    ends = await asyncio.gather(*(user(number) for number in range(USERS)))
    answered = [end for end in ends if isinstance(end, Done)]
    refused = [end for end in ends if isinstance(end, Error)]
    assert all(end.total_tokens == ANSWER for end in answered)
    assert len(answered) >= 64
    assert all(error.retryable and error.retry_after for error in refused)
    assert 0 < most <= CELLS
