"""Closing a stream reaches the server, through whatever stands between: real proxies, a real llama-server.

How soon is measured by ``python -m tests.bench.cancel``.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing, nullcontext
from pathlib import Path

import pytest

from backends import config, providers
from backends.backend import Backend, ChatRequest, Message
from backends.events import Token
from tests.counterparts import litellm, nginx
from tests.counterparts.watched import SILENT, Watched, watched

PATIENCE = 240.0


def opened(kind: str, url: str, model: str = "") -> Backend:
    """A backend that speaks `kind`."""
    table = f'type = "{kind}"\nurl = "{url}"\nmodel = "{model}"\nretries = 0\n'
    return providers.open_backend(config.parse(f"[backends.a]\n{table}"), "a")


@pytest.mark.parametrize("proxied", [False, True], ids=["direct", "nginx"])
@pytest.mark.parametrize(("far", "near"), [("openai", "openai"), ("serve", "native"), ("serve", "openai")])
async def test_the_server_sees_it(tmp_path: Path, far: str, near: str, proxied: bool) -> None:
    if proxied and nginx.installed() is None:
        pytest.skip("no nginx here")
    async with asyncio.timeout(PATIENCE), watched(far) as server:
        with nginx.nginx(server.url, tmp_path / "way") if proxied else nullcontext(server.url) as url:
            backend = opened(near, url)
            for question in ("talk", SILENT):
                await leave(backend, question, server)
            await backend.aclose()


async def test_the_server_sees_it_through_litellm(tmp_path: Path) -> None:
    if litellm.installed() is None:
        pytest.skip("no litellm here: name its command in LLMCHAT_LITELLM")
    async with asyncio.timeout(PATIENCE), watched("openai") as by_hand, watched("serve") as ours:
        servers = {"by-hand": by_hand, "ours": ours}
        upstreams = {name: server.url for name, server in servers.items()}
        with litellm.litellm(upstreams, tmp_path / "way", cancels=True) as url:
            for name, server in servers.items():
                backend = opened("openai", url, name)
                for question in ("talk", SILENT):
                    await leave(backend, question, server)
                await backend.aclose()


async def leave(backend: Backend, question: str, server: Watched) -> None:
    """Ask, and go: in mid-answer, or while the server says nothing yet."""
    token = asyncio.Event()

    async def read() -> None:
        async with aclosing(backend.stream(ChatRequest((Message("user", question),)))) as events:
            async for event in events:
                if isinstance(event, Token):
                    token.set()

    reader = asyncio.create_task(read())
    number = await server.begun()
    if question != SILENT:
        await token.wait()
    left = time.monotonic()
    reader.cancel()
    assert await server.gone(number) >= left
    await asyncio.gather(reader, return_exceptions=True)
