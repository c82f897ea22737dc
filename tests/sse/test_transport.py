"""The connections that httpx's pool keeps, on a real socket."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx

from backends.sse.address import Address
from backends.sse.transport import Transport


class Server(asyncio.Protocol):
    """Answers every request on a connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")


async def test_a_request_cancelled_at_any_step_leaves_no_connection_behind(tmp_path: Path) -> None:
    server = await asyncio.get_running_loop().create_unix_server(Server, tmp_path / "s")
    transport = Transport(Address("http://localhost", str(tmp_path / "s")))
    async with server, httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        for steps in range(60):
            asking = asyncio.create_task(client.get("/"))
            for _ in range(steps):
                await asyncio.sleep(0)
            asking.cancel()
            await asyncio.wait([asking])
        assert (await client.get("/")).text == "ok"
        assert all(each.is_idle() for each in transport._pool.connections)
        assert not transport._pool._requests
