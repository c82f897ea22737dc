"""The client's side of a lease: one open connection that keeps a child alive, and tells when the child has gone.

It is a ``GET /v1/lease`` whose answer never ends. A socket of this machine needs no pings: the kernel closes it with
the process at either end, `kill -9` included. A protocol, not a task: nothing runs while it is held.
"""

from __future__ import annotations

import asyncio
from typing import cast
from urllib.parse import urlsplit

from backends.errors import BackendError, Code
from backends.local.spec import Endpoint

PATH = "/v1/lease"

_HEAD_LIMIT = 16 * 1024


class Lease(asyncio.Protocol):
    """A lease being asked for, held, or lost. `lost` is done as soon as the connection is, from either side."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[None] = loop.create_future()
        self._answer: asyncio.Future[int] = loop.create_future()
        self._head = b""
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def take(cls, endpoint: Endpoint) -> Lease:
        """A lease on the child at `endpoint`. Raises BackendError (CONNECT) when nobody there grants one."""
        loop = asyncio.get_running_loop()
        parts = urlsplit(endpoint.url)
        try:
            if endpoint.uds:
                _, lease = await loop.create_unix_connection(cls, endpoint.uds)
            else:
                _, lease = await loop.create_connection(cls, parts.hostname or "", parts.port or 0)
        except OSError as error:
            raise _refused(endpoint, error.strerror or str(error)) from None
        try:
            lease._ask(parts.netloc, endpoint.token)
            status = await lease._answer
        except BaseException:
            lease.drop()
            raise
        if status != 200:
            lease.drop()
            raise _refused(endpoint, f"HTTP {status}" if status else "it closed the connection")
        return lease

    def drop(self) -> None:
        """Give the lease up; the child ends when it was the last one. May be called again."""
        if self._transport is not None:
            self._transport.abort()

    def _ask(self, host: str, token: str) -> None:
        lines = [f"GET {PATH} HTTP/1.1", f"Host: {host}", f"Authorization: Bearer {token}", "", ""]
        assert self._transport is not None
        self._transport.write("\r\n".join(lines).encode())

    # ---- called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`: the status line matters, and nothing behind it."""
        if self._answer.done():
            return
        self._head += data
        if b"\r\n" in self._head or len(self._head) > _HEAD_LIMIT:
            words = self._head.split(b"\r\n", 1)[0].split()
            self._answer.set_result(int(words[1]) if len(words) > 1 and words[1].isdigit() else 0)

    def eof_received(self) -> None:
        """See `asyncio.Protocol`: the child has closed, a turn of the event loop before `connection_lost` says so."""
        self._end()

    def connection_lost(self, error: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._end()

    def _end(self) -> None:
        if not self._answer.done():
            self._answer.set_result(0)
        if not self.lost.done():
            self.lost.set_result(None)


def _refused(endpoint: Endpoint, reason: str) -> BackendError:
    where = endpoint.uds or endpoint.url
    return BackendError(Code.CONNECT, f"the engine at {where} grants no lease: {reason}", retryable=True)
