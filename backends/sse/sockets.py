"""Connections for httpcore on asyncio's own transports (httpcore's `AsyncNetworkBackend` interface), TLS included.

httpcore's default goes through anyio, which on a Unix socket adds and removes a reader for every read and wakes the
loop three times where once is enough: half of what a token costs on its way from the local engine. Closing here takes
no await, so that a cancelled task leaves no connection half closed; and looking a name up is timed apart.

Waking up is most of what a small piece costs: from a server that sends hundreds a second they are taken several at a
time, and meanwhile they wait in the kernel.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable, Iterable
from typing import Any, TypeVar, cast

import httpcore

from backends.sse.lookup import addresses_of, first_of, is_address

T = TypeVar("T")

_BUFFER = 256 * 1024
"""Bytes that are taken in before they are asked for."""
GATHER = 0.005
"""Seconds: what comes sooner after the last reading is read together, once a stream has shown that it is that fast."""
FAST_AFTER = 8
"""Readings in a row, each sooner than `GATHER` after the one before: an answer's head and first token never wait."""

LOOKUP = "lookup"
"""`get_extra_info(LOOKUP)`: seconds that finding the host's addresses took; None where there was nothing to find."""


class AsyncioBackend(httpcore.AsyncNetworkBackend):
    """Opens TCP and Unix sockets; httpcore asks their streams for TLS."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface, here and below
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """See `httpcore.AsyncNetworkBackend`; asyncio sets TCP_NODELAY itself."""
        local = None if local_address is None else (local_address, 0)
        return await _within(timeout, _look_up_and_open(host, port, local))

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """See `httpcore.AsyncNetworkBackend`."""
        return (await _within(timeout, asyncio.get_running_loop().create_unix_connection(_Stream, path)))[1]

    async def sleep(self, seconds: float) -> None:
        """See `httpcore.AsyncNetworkBackend`."""
        await asyncio.sleep(seconds)


async def _look_up_and_open(host: str, port: int, local: tuple[str, int] | None) -> _Stream:
    loop = asyncio.get_running_loop()

    async def connect(address: str) -> _Stream:
        return (await loop.create_connection(_Stream, address, port, local_addr=local))[1]

    if is_address(host):
        return await connect(host)
    began = loop.time()
    addresses = await addresses_of(host, port)
    took = loop.time() - began
    stream = await first_of(addresses, connect, _Stream.aclose)
    stream.lookup = took
    return stream


async def _within(seconds: float | None, opening: Awaitable[T]) -> T:
    try:
        async with asyncio.timeout(seconds):
            return await opening
    except TimeoutError as error:
        raise httpcore.ConnectTimeout from error
    except OSError as error:
        raise httpcore.ConnectError(str(error)) from error


class _Stream(httpcore.AsyncNetworkStream, asyncio.Protocol):
    """One connection: what has arrived and nobody has read, and whoever waits for it."""

    def __init__(self) -> None:
        self.lookup: float | None = None
        self._transport: asyncio.Transport | None = None
        self._socket: asyncio.Transport | None = None  # the same, below TLS if there is any
        self._arrived = bytearray()
        self._ended = False
        self._lost: Exception | None = None
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._reader: asyncio.Future[None] | None = None
        self._read_at = 0.0
        self._fast = 0  # readings in a row that came sooner than GATHER
        self._gathering: asyncio.Handle | None = None
        self._head = b""  # of a request whose body is to come
        self._writable = asyncio.Event()
        self._writable.set()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = self._socket = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._arrived += data
        assert self._socket is not None
        if len(self._arrived) > _BUFFER:
            self._socket.pause_reading()
        if self._reader is None or self._reader.done() or self._gathering is not None:
            return
        soon = self._read_at + GATHER - self._loop.time()
        self._fast = self._fast + 1 if soon > 0 else 0
        if self._fast <= FAST_AFTER:
            self._wake()
        else:
            self._socket.pause_reading()
            self._gathering = self._loop.call_later(soon, self._gathered)

    def eof_received(self) -> bool:
        self._ended = True
        self._wake()
        return self._transport is self._socket  # the reader decides when to close; TLS takes no such wishes

    def connection_lost(self, error: Exception | None) -> None:
        self._ended = True
        self._lost = error
        self._wake()
        self._writable.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # httpcore.AsyncNetworkStream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        """What has arrived, at most `max_bytes`; empty at the end. Raises httpcore.ReadError, ReadTimeout."""
        if not self._arrived and not self._ended and not self._closed:
            self._reader = self._loop.create_future()
            try:
                if timeout is None:
                    await self._reader
                else:
                    async with asyncio.timeout(timeout):
                        await self._reader
            except TimeoutError as error:
                raise httpcore.ReadTimeout from error
            finally:
                self._reader = None
        if self._closed:
            raise httpcore.ReadError("closed here")
        if not self._arrived:
            if self._lost is not None:
                lost = httpcore.ReadError(str(self._lost))
                lost.__context__ = self._lost  # not `from`: httpcore takes the cause away on the way up
                raise lost
            return b""
        return self._take(max_bytes)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Send `buffer`, waiting while the peer takes nothing. Raises httpcore.WriteError, WriteTimeout.

        The head of a POST goes out with what is written next: its body. Apart they would cost both sides a system call
        and a wake-up more.
        """
        if self._transport is None or self._transport.is_closing():
            raise httpcore.WriteError("the connection is closed")
        if not self._head and buffer.startswith(b"POST ") and buffer.endswith(b"\r\n\r\n"):
            self._head = buffer
            return
        if whole := self._head + buffer:
            self._head = b""
            self._transport.write(whole)
        if not self._writable.is_set():
            try:
                async with asyncio.timeout(timeout):
                    await self._writable.wait()
            except TimeoutError as error:
                raise httpcore.WriteTimeout from error

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        """See `httpcore.AsyncNetworkStream`; the stream itself, from now on encrypted."""
        assert self._transport is not None
        loop = asyncio.get_running_loop()
        shaking_hands = loop.start_tls(self._transport, self, ssl_context, server_hostname=server_hostname)
        try:
            self._transport = await _within(timeout, shaking_hands)
        except BaseException:
            await self.aclose()
            raise
        return self

    async def aclose(self) -> None:
        """Drop the connection: the peer sees it before this returns. A reader that waits gets a ReadError."""
        self._closed = True
        self._wake()
        if self._transport is not None and not self._transport.is_closing():
            with contextlib.suppress(OSError):  # the peer was faster
                shown = self._transport.get_extra_info("socket")
                # By its descriptor: what uvloop (Ray Serve's loop) shows for a socket cannot shut it down.
                with socket.fromfd(shown.fileno(), shown.family, shown.type) as ours:
                    ours.shutdown(socket.SHUT_RDWR)
        if self._transport is not None:
            self._transport.abort()  # frees the descriptor in the loop's next turn

    def get_extra_info(self, info: str) -> Any:
        """`is_readable`: on an idle connection it means that the server has closed it. `LOOKUP`, and what asyncio's
        transports tell (`ssl_object`)."""
        if info == "is_readable":
            return self._ended or bool(self._arrived)
        if info == LOOKUP:
            return self.lookup
        return None if self._transport is None else self._transport.get_extra_info(info)

    def _take(self, max_bytes: int) -> bytes:
        self._read_at = self._loop.time()
        data = bytes(self._arrived[:max_bytes])
        del self._arrived[:max_bytes]
        if len(self._arrived) <= _BUFFER:
            self._resume()
        return data

    def _resume(self) -> None:
        if self._socket is not None and not self._socket.is_closing():
            self._socket.resume_reading()

    def _gathered(self) -> None:
        """The kernel gives what it has in the loop's next turn, and the reader gets that, too."""
        self._resume()
        self._gathering = self._loop.call_soon(self._wake)

    def _wake(self) -> None:
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathering = None
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
