"""A service on a real socket, and a bare HTTP client for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import msgspec
import pytest

from backends.backend import Backend
from backends.config import Serve
from backends.serve.app import create_app
from backends.serve.server import listening
from backends.serve.service import INSIDE
from backends.serve.streams import Streams

PATIENCE = 20.0
CHAT = {"messages": [{"role": "user", "content": "one two three"}]}


@dataclass(frozen=True)
class Service:
    """A running service: its address, the streams in it, and a client for it."""

    url: str
    streams: Streams
    http: httpx.AsyncClient


Start = Callable[..., Awaitable[Service]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """`await start(backend, **options)`: the service of `backend`, ended at the end of the test.

    Options are the settings of `Serve` by name, and what `create_app` takes beside them.
    """
    async with AsyncExitStack() as stack:

        async def start_service(backend: Backend, **options: Any) -> Service:
            settings = {name: options.pop(name) for name in Serve.__struct_fields__ if name in options}
            app = create_app(backend, msgspec.structs.replace(INSIDE, **settings), **options)
            url = await stack.enter_async_context(listening(app, grace=0.0))
            http = await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=PATIENCE, trust_env=False))
            return Service(url, app.state.streams, http)

        yield start_service


async def eventually(true: Callable[[], bool]) -> None:
    """Wait until `true()`; fails after `PATIENCE`."""
    async with asyncio.timeout(PATIENCE):
        while not true():  # noqa: ASYNC110 - looks at what has no event
            await asyncio.sleep(0.005)
