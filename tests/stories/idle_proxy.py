"""A TCP proxy on loopback that ends a connection on which nothing has come from the server for a while."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit


@asynccontextmanager
async def idle_proxy(upstream: str, idle: float) -> AsyncIterator[str]:
    """The URL of a proxy in front of `upstream` that allows `idle` seconds of silence."""
    address = urlsplit(upstream)
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        own = asyncio.current_task()
        assert own is not None
        tasks.add(own)
        up_reader, up_writer = await asyncio.open_connection(address.hostname, address.port)
        upward = asyncio.create_task(_copy(reader, up_writer, None))
        tasks.add(upward)
        try:
            await _copy(up_reader, writer, idle)
        finally:
            upward.cancel()
            for each in (writer, up_writer):
                each.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, idle: float | None) -> None:
    """Until the end, or the first silence that is too long."""
    try:
        while data := await asyncio.wait_for(reader.read(4096), idle):
            writer.write(data)
            await writer.drain()
    except (TimeoutError, ConnectionError):
        return
