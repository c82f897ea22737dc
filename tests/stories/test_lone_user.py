"""Story 5: requests are collected into a batch before any of them starts, and who comes alone waits for nobody.

What is measured is whether the lone user's request starts, with a window of an hour.
"""

from __future__ import annotations

import asyncio
from typing import Literal

import pytest

from backends.backend import ChatRequest, Message, Sampling
from backends.events import Done, Event
from tests.stories.conftest import StartEngine, Work

HOUR_MS = 3_600_000.0


def request(content: str) -> ChatRequest:
    return ChatRequest((Message("user", content),), max_tokens=4, sampling=Sampling(temperature=0), queue_timeout=7200)


async def test_a_batch_window_makes_a_lone_user_wait(start: StartEngine, work: Work) -> None:
    engine = await start(batching="static", max_queue_ms=HOUR_MS, max_streams=2)
    work.forget()

    async def user(content: str) -> Event:
        return [event async for event in engine.stream(request(content))][-1]

    lone = asyncio.create_task(user("pause the plan"))
    done, _ = await asyncio.wait({lone}, timeout=0.5)
    assert not done
    assert work.steps == 0  # the model stands still, and a request is there
    second = await user("pause the plan")  # only this one's coming starts it
    assert isinstance(second, Done)
    assert isinstance(await lone, Done)


@pytest.mark.parametrize("batching", ["continuous", "dynamic"])
async def test_a_lone_user_starts_at_once(start: StartEngine, batching: Literal["continuous", "dynamic"]) -> None:
    engine = await start(batching=batching, max_queue_ms=HOUR_MS, max_streams=2)
    async with asyncio.timeout(60):
        events = [event async for event in engine.stream(request("pause the plan"))]
    assert isinstance(events[-1], Done)
