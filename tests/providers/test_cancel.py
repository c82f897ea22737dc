"""Closing a stream reaches the server, through whatever stands between: real proxies, a real llama-server.

How soon is measured by ``python -m tests.bench.cancel``.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AbstractContextManager, aclosing, nullcontext
from pathlib import Path

import pytest

from backends import config, providers
from backends.backend import Backend, ChatRequest, Message
from backends.events import Token
from tests.counterparts import litellm, nginx
from tests.counterparts.watched import SILENT, Watched, watched

PATIENCE = 60.0


def way(name: str, url: str, folder: Path) -> AbstractContextManager[str]:
    """What stands before the server at `url`."""
    if name == "nginx":
        if nginx.installed() is None:
            pytest.skip("no nginx here")
        return nginx.nginx(url, folder)
    if name == "litellm":
        if litellm.installed() is None:
            pytest.skip("no litellm here: name its command in LLMCHAT_LITELLM")
        return litellm.litellm(url, folder)
    return nullcontext(url)


@pytest.mark.parametrize("name", ["direct", "nginx", "litellm"])
@pytest.mark.parametrize(("far", "near"), [("openai", "openai"), ("serve", "native"), ("serve", "openai")])
async def test_the_server_sees_it(tmp_path: Path, far: str, near: str, name: str) -> None:
    if name == "litellm" and near == "native":
        pytest.skip("litellm does not pass our protocol on")
    async with asyncio.timeout(PATIENCE), watched(far) as server:
        with way(name, server.url, tmp_path / "way") as url:
            model = litellm.MODEL if name == "litellm" else ""
            table = f'type = "{near}"\nurl = "{url}"\nmodel = "{model}"\nretries = 0\n'
            backend = providers.open_backend(config.parse(f"[backends.a]\n{table}"), "a")
            # litellm looks for its reader only once the server has begun to answer.
            for question in ("talk",) if name == "litellm" else ("talk", SILENT):
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
