"""Cancelling: at once, in a prefill too, and without a trace in anybody else's answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any, cast

import pytest

from backends.engine import Engine
from backends.engine.runner import ABORTED, Job, Runner
from backends.events import Event, Status, Token
from tests.engine.answers import ask, request
from tests.engine.conftest import StartEngine

WIDE = "the annual plan and the invoice of the refund " * 120
"""About 1,800 tokens: on the slow model a prefill that can be interrupted."""


async def read_until(engine: Engine, kind: type[Event], content: str, max_tokens: int = 400, **match: Any) -> Event:
    """Read a stream up to the first event of `kind` with these fields, then close it."""
    stream = cast("AsyncIterator[Event]", engine.stream(request(content, max_tokens)))
    async with aclosing(stream) as events:
        async for event in events:
            if isinstance(event, kind) and all(getattr(event, name) == value for name, value in match.items()):
                return event
    raise AssertionError(f"no {kind.__name__} came")


async def used_alone(engine: Engine, max_tokens: int = 4) -> tuple[int, int]:
    """Cells in use when a small request is through, and what that request itself needs."""
    answer = await ask(engine, "pause", max_tokens)
    prompt = answer.metas[0].prompt_tokens
    assert prompt is not None
    return answer.metas[-1].kv_used or 0, prompt + max_tokens - 1


class Decodes:
    """What llama_decode returned, step by step, and when it began a long prefill."""

    def __init__(self) -> None:
        self.codes: list[int] = []
        self.long = threading.Event()

    async def cancel_in_a_long_one(self, engine: Engine) -> None:
        """Ask with a long prompt, and cancel while llama.cpp computes it."""
        reading = asyncio.create_task(ask(engine, WIDE))
        assert await asyncio.to_thread(self.long.wait, 60)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading


@pytest.fixture
def decodes(monkeypatch: pytest.MonkeyPatch) -> Decodes:
    seen = Decodes()
    decode = Runner.decode

    def spy(self: Runner, jobs: list[Job]) -> int:
        if sum(len(job.tokens) for job in jobs) > 1500:
            seen.long.set()
        seen.codes.append(decode(self, jobs))
        return seen.codes[-1]

    monkeypatch.setattr(Runner, "decode", spy)
    return seen


async def test_a_prefill_is_interrupted_and_neighbours_answer_as_if_alone(
    start: StartEngine, slow: Path, decodes: Decodes
) -> None:
    """The whole prompt is one chunk of one step, in which the neighbours decode: only an abort can end it early."""
    engine = await start(model=str(slow), prefill_chunk=4000, n_batch=4096, n_ubatch=512, kv_cells=8192)
    alone = [(await ask(engine, content, 100)).text for content in ("pause", "refund")]
    neighbours = [asyncio.create_task(ask(engine, content, 100)) for content in ("pause", "refund")]
    await decodes.cancel_in_a_long_one(engine)
    assert [(await task).text for task in neighbours] == alone
    assert ABORTED in decodes.codes
    used, needed = await used_alone(engine)
    assert used == needed


async def test_cancelling_one_of_two_prefills_spares_the_other(
    start: StartEngine, slow: Path, decodes: Decodes
) -> None:
    engine = await start(model=str(slow), prefill_chunk=4000, n_batch=4096, n_ubatch=64, kv_cells=8192)
    alone = (await ask(engine, "invoice " * 60, 30)).text
    neighbour = asyncio.create_task(ask(engine, "invoice " * 60, 30))
    await decodes.cancel_in_a_long_one(engine)
    assert (await neighbour).text == alone
    assert ABORTED in decodes.codes


async def test_between_chunks_a_cancel_needs_no_abort(start: StartEngine) -> None:
    engine = await start(prefill_chunk=16)
    await read_until(engine, Status, "refund " * 40, max_tokens=50, status="prefilling", done=32)
    used, needed = await used_alone(engine)
    assert used == needed


async def test_an_answer_is_cancelled_in_the_middle(start: StartEngine) -> None:
    engine = await start()
    alone = (await ask(engine, "refund", 60)).text
    neighbour = asyncio.create_task(ask(engine, "refund", 60))
    await read_until(engine, Token, "pause")
    assert (await neighbour).text == alone
    used, needed = await used_alone(engine)
    assert used == needed


async def test_cancelled_streams_leave_slots_and_cells_for_others(start: StartEngine) -> None:
    engine = await start(max_streams=2, kv_cells=512)
    for _ in range(12):
        await asyncio.gather(*(read_until(engine, Token, "pause") for _ in range(3)))
    used, needed = await used_alone(engine)
    assert used == needed


async def test_cancelling_the_reading_task_cancels_the_answer(start: StartEngine) -> None:
    engine = await start(max_streams=1)
    first = asyncio.Event()

    async def reader() -> None:
        async for event in engine.stream(request(max_tokens=400)):
            if isinstance(event, Token):
                first.set()

    task = asyncio.create_task(reader())
    await first.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    used, needed = await used_alone(engine)
    assert used == needed


async def test_a_queued_request_whose_client_is_gone_never_runs(
    start: StartEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []
    make_sampler = Runner.make_sampler

    def spy(self: Runner, draw: Any) -> Any:
        started.append(draw.seed)
        return make_sampler(self, draw)

    monkeypatch.setattr(Runner, "make_sampler", spy)
    engine = await start(max_streams=1)
    async with aclosing(cast("Any", engine.stream(request(max_tokens=480)))) as running:
        async for event in running:
            if isinstance(event, Token):
                break
        await read_until(engine, Status, "refund", status="queued")
        waiting = asyncio.create_task(ask(engine, "invoice"))
        async for _ in running:
            pass
    assert (await waiting).done.finish_reason == "length"
    assert len(started) == 2
