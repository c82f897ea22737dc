"""Story 3: the cancel key stops the screen, and the model goes on computing what nobody reads.

What is measured is what llama.cpp computes after the cancel.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

from backends.backend import ChatRequest, Message, Sampling
from backends.engine import Engine
from backends.events import Event, Token
from backends.providers.native import Native
from backends.serve.app import create_app
from backends.serve.server import listening
from tests.stories.conftest import StartEngine, Work

LIMIT = 1_500
LONG = ChatRequest((Message("user", "pause the plan"),), max_tokens=LIMIT, sampling=Sampling(temperature=0))


@asynccontextmanager
async def client(engine: Engine) -> AsyncIterator[Native]:
    """A client of `engine` behind a real socket."""
    async with listening(create_app(engine, resume_grace=0.0), grace=0.0) as url, aclosing(Native(url)) as native:
        yield native


async def read_a_little(stream: AsyncGenerator[Event, None]) -> None:
    tokens = 0
    async for event in stream:
        tokens += isinstance(event, Token)
        if tokens == 3:
            return


async def computes_on(work: Work) -> bool:
    """Whether the model is still at it: fifty more steps, or none in a second."""
    work.forget()
    for _ in range(100):
        await asyncio.sleep(0.01)
        if work.steps >= 50:
            return True
    return False


async def test_a_cancel_that_only_stops_the_screen_lets_the_model_go_on(start: StartEngine, work: Work) -> None:
    async with client(await start()) as native:
        stream = native.stream(LONG)
        unread: list[Event] = []

        async def swallow() -> None:
            async for event in stream:
                unread.append(event)  # received, and not shown

        await read_a_little(stream)
        hidden = asyncio.create_task(swallow())
        await hidden
        assert work.tokens >= LIMIT  # all of it was computed


async def test_closing_the_stream_stops_the_model(start: StartEngine, work: Work) -> None:
    async with client(await start()) as native:
        async with aclosing(native.stream(LONG)) as stream:
            await read_a_little(stream)
        async with asyncio.timeout(20):
            while await computes_on(work):
                continue
        work.forget()
        short = ChatRequest((Message("user", "refund"),), max_tokens=2, sampling=Sampling(temperature=0))
        events = [event async for event in native.stream(short)]
        assert sum(event.count for event in events if isinstance(event, Token)) == 2
        assert work.tokens < 100  # nothing but this one
