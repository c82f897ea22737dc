"""Story 2: while the model reads a long prompt the stream is silent, and a proxy on the way takes it for dead.

What is measured is which events arrive.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from backends.config import Serve
from backends.events import Done, Token
from backends.serve.app import create_app
from backends.serve.server import listening
from tests.fakes.scripted import Hold, Scripted
from tests.stories.idle_proxy import idle_proxy

BODY = {"messages": [{"role": "user", "content": "a long prompt"}]}
IDLE = 1.0


@asynccontextmanager
async def stream(hold: Hold, ping_interval: float) -> AsyncIterator[AsyncIterator[str]]:
    """The lines of an answer whose first token waits for `hold`, read through the proxy."""
    backend = Scripted(hold, Token("Yes"), Done(1, 1.0))
    app = create_app(backend, Serve(ping_interval=ping_interval), resume_grace=0.0)
    async with (
        listening(app, grace=0.0) as url,
        idle_proxy(url, IDLE) as proxied,
        httpx.AsyncClient(base_url=proxied, timeout=60.0, trust_env=False) as http,
        http.stream("POST", "/v1/chat", json=BODY) as response,
    ):
        yield response.aiter_lines()


async def test_a_silent_stream_is_cut() -> None:
    lines: list[str] = []
    async with asyncio.timeout(60), stream(Hold(), ping_interval=3600.0) as received:
        with pytest.raises(httpx.RemoteProtocolError):
            await _read(received, lines)
    assert not any(line.startswith(("event: token", "event: done")) for line in lines)


async def _read(received: AsyncIterator[str], lines: list[str]) -> None:
    async for line in received:
        lines.append(line)


async def test_a_stream_that_says_it_is_alive_survives_the_same_silence() -> None:
    hold, lines, pings = Hold(), [], 0
    async with asyncio.timeout(60), stream(hold, ping_interval=IDLE / 10) as received:
        async for line in received:
            lines.append(line)
            pings += line.startswith(":")
            if pings == 15:  # half as long again as the proxy would have waited
                hold.release()
    assert "event: token" in lines
    assert "event: done" in lines
