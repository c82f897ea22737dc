"""Another backend in the place of the one that serves; running streams stay where they are."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx

from backends.backend import Backend
from backends.config import Serve
from backends.errors import ConfigError
from backends.events import Token
from backends.serve import serve
from tests.fakes.scripted import Hold, Scripted, answer
from tests.serve.conftest import CHAT, PATIENCE, eventually


@asynccontextmanager
async def serving(first: Backend, reopen: Callable[[], tuple[Backend, Serve]]) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the service, which has ended behind the block."""
    started: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(first, on_started=started.set_result, reopen=reopen))
    url = await asyncio.wait_for(started, PATIENCE)
    try:
        async with httpx.AsyncClient(base_url=url, timeout=PATIENCE, trust_env=False) as http:
            yield http
    finally:
        task.cancel()
        await asyncio.wait([task])


async def ask(http: httpx.AsyncClient) -> str:
    """The whole stream."""
    return (await http.post("/v1/chat", json=CHAT)).text


async def test_on_sighup_new_requests_go_to_the_new_one() -> None:
    hold = Hold()
    first, second, third = (
        Scripted(hold, *answer("first")),
        Scripted(hold, *answer("second")),
        Scripted(*answer("third")),
    )
    following: list[Backend] = [second, third]
    async with serving(first, lambda: (following.pop(0), Serve(max_messages=1))) as http:
        running = asyncio.create_task(ask(http))
        await asyncio.wait_for(hold.reached.wait(), PATIENCE)
        os.kill(os.getpid(), signal.SIGHUP)
        await eventually(lambda: following == [third])
        beside = asyncio.create_task(ask(http))
        await eventually(lambda: second.streaming == 1)
        os.kill(os.getpid(), signal.SIGHUP)
        await eventually(lambda: following == [])
        assert "third" in await ask(http)
        two = {"messages": CHAT["messages"] * 2}
        assert (await http.post("/v1/chat", json=two)).status_code == 413
        assert (first.streaming, second.streaming, second.closed) == (1, 1, False)
        hold.release()
        assert "first" in await running
        assert "second" in await beside
        await eventually(lambda: second.closed)
        assert (first.closed, third.closed) == (False, False)  # the first is the caller's
    assert (first.closed, third.closed) == (False, True)


async def test_a_configuration_that_is_wrong_changes_nothing() -> None:
    tried = 0

    def reopen() -> tuple[Backend, Serve]:
        nonlocal tried
        tried += 1
        raise ConfigError("a wrong key")

    async with serving(Scripted(Token("still "), *answer("here")), reopen) as http:
        os.kill(os.getpid(), signal.SIGHUP)
        await eventually(lambda: tried == 1)
        assert "here" in await ask(http)
