"""Proxies on real sockets: HTTP (RFC 9110, section 9.3.6, CONNECT; RFC 9112, section 3.2.2, absolute form) and SOCKS5
(RFC 1928, RFC 1929), which keep what they were asked for."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Proxy:
    """A running proxy: `seen` has the first line of every request, or SOCKS's target, and `passed` all client bytes."""

    url: str = ""
    seen: list[str] = field(default_factory=list)
    passed: bytearray = field(default_factory=bytearray)


@asynccontextmanager
async def http_proxy(
    user: str = "", password: str = "", status: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Proxy]:
    """An HTTP proxy; it wants `user` and `password` if given, and answers nothing but `status` if that is given."""
    proxy = Proxy()
    credentials = base64.b64encode(f"{user}:{password}".encode()).decode() if user else ""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        method, target, _ = head.split(" ", 2)
        proxy.seen.append(f"{method} {target}")
        wrong = credentials and f"proxy-authorization: basic {credentials}".lower() not in head.lower()
        if refusal := status or (407 if wrong else 0):
            writer.write(f"HTTP/1.1 {refusal} Refused\r\ncontent-length: 0\r\n\r\n".encode())
            return
        parts = urlsplit(target if method != "CONNECT" else f"//{target}")
        far_reader, far_writer = await asyncio.open_connection(parts.hostname, parts.port)
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            rest = head.partition("\r\n")[2]
            far_writer.write(f"{method} {parts.path} HTTP/1.1\r\n{rest}".encode())
        await _relay(proxy, (reader, writer), (far_reader, far_writer))

    async with _serving(talk, tls) as port:
        proxy.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
        yield proxy


@asynccontextmanager
async def socks_proxy(user: str = "", password: str = "") -> AsyncIterator[Proxy]:
    """A SOCKS5 proxy; it wants `user` and `password` if given."""
    proxy = Proxy()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        version, count = await reader.readexactly(2)
        methods = await reader.readexactly(count)
        wanted = 2 if user else 0
        writer.write(bytes([version, wanted if wanted in methods else 0xFF]))
        if wanted not in methods:
            return
        if user:
            await reader.readexactly(1)
            given = [await reader.readexactly((await reader.readexactly(1))[0]) for _ in range(2)]
            writer.write(bytes([1, int(given != [user.encode(), password.encode()])]))
        *_, kind = await reader.readexactly(4)
        length = {1: 4, 4: 16}.get(kind) or (await reader.readexactly(1))[0]
        raw = await reader.readexactly(length)
        host = raw.decode() if kind == 3 else ".".join(map(str, raw))
        port = int.from_bytes(await reader.readexactly(2), "big")
        proxy.seen.append(f"{host}:{port}")
        far = await asyncio.open_connection(host, port)
        writer.write(b"\x05\x00\x00\x01" + bytes(6))
        await _relay(proxy, (reader, writer), far)

    async with _serving(talk) as port:
        proxy.url = f"socks5://127.0.0.1:{port}"
        yield proxy


@asynccontextmanager
async def _serving(talk: Talk, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    running: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        try:
            # asyncio 3.11 reports a connection's task that ends as cancelled.
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await talk(reader, writer)
                await writer.drain()
        finally:
            running.discard(task)
            writer.close()

    listener = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        for task in list(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _relay(proxy: Proxy, near: Pair, far: Pair) -> None:
    """Pass bytes both ways until one side closes; then the other is closed, too."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kept: bytearray | None) -> None:
        while data := await reader.read(65_536):
            if kept is not None:
                kept += data
            writer.write(data)
            await writer.drain()

    ways = [asyncio.create_task(pump(near[0], far[1], proxy.passed)), asyncio.create_task(pump(far[0], near[1], None))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        far[1].close()
