"""httpx's transport as we want it: our own sockets, the way that was configured, and word of idle connections.

HTTP/1.1 only: leaving an HTTP/2 stream early, httpcore tells the server nothing, which would go on computing.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import Any

import httpcore
import httpx
from httpcore._async.connection_pool import PoolByteStream
from httpx._transports.default import AsyncResponseStream

from backends.sse.address import Address
from backends.sse.network import Network, Proxy
from backends.sse.proxies import proxy_for
from backends.sse.sockets import AsyncioBackend
from backends.sse.tls import tls_context

_LIMITS: dict[str, Any] = {"max_connections": None, "max_keepalive_connections": 128, "keepalive_expiry": 60.0}


_opened: ContextVar[list[httpcore.AsyncNetworkStream]] = ContextVar("_opened")
"""The connections that the request of this task has opened."""


class Transport(httpx.AsyncHTTPTransport):
    """httpx's transport that tells of idle connections; on asyncio's own sockets."""

    def __init__(self, address: Address, network: Network | None = None) -> None:
        """Raises ConfigError where a proxy or a certificate cannot be used."""
        network = network or Network()
        self.proxy = proxy_for(address, network.proxy)
        super().__init__(verify=False)  # its pool is exchanged for ours
        encrypted = [url for url in (address.url, self.proxy.url if self.proxy else "") if url.startswith("https:")]
        self._pool = _pool(address, self.proxy, tls_context(network) if encrypted else None)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """See `httpx.AsyncBaseTransport`. A SOCKS connection that comes to nothing is closed, which httpcore omits."""
        opened: list[httpcore.AsyncNetworkStream] = []
        _opened.set(opened)
        await self._close_orphans()
        try:
            response = await super().handle_async_request(request)
        except BaseException:
            for stream in opened:
                await stream.aclose()
            raise
        assert isinstance(response.stream, AsyncResponseStream)
        response.stream = _Closing(response.stream, self)
        return response

    async def let_go(self, stream: AsyncResponseStream) -> None:
        """Gives up a closed response's connection: httpcore has, unless a cancel came between two of its steps."""
        body = stream._httpcore_stream
        assert isinstance(body, PoolByteStream)
        if body._pool_request in self._pool._requests:
            self._pool._requests.remove(body._pool_request)
        await self._close_orphans()

    async def _close_orphans(self) -> None:
        """Closes what cancelled requests have left: httpcore omits it if a cancel comes between two of its steps."""
        held = {id(request.connection) for request in self._pool._requests}
        orphans = [each for each in self._pool.connections if id(each) not in held and not each.is_idle()]
        for connection in orphans:
            self._pool._connections.remove(connection)
        for connection in orphans:
            await connection.aclose()

    @property
    def has_idle_connection(self) -> bool:
        """Whether a request could be sent at once."""
        return any(connection.is_idle() and not connection.has_expired() for connection in self._pool.connections)


class _Closing(httpx.AsyncByteStream):
    """A response's body whose connection is closed or idle after it, though a cancel comes while it is closed."""

    def __init__(self, stream: AsyncResponseStream, transport: Transport) -> None:
        self._stream = stream
        self._transport = transport

    def __aiter__(self) -> AsyncIterator[bytes]:
        return aiter(self._stream)

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            await self._transport.let_go(self._stream)


class _Noting(AsyncioBackend):
    """Tells the request that opens a connection."""

    async def connect_tcp(self, *where: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        stream = await super().connect_tcp(*where, **options)
        _opened.get().append(stream)
        return stream


def _pool(address: Address, proxy: Proxy | None, tls: ssl.SSLContext | None) -> httpcore.AsyncConnectionPool:
    options = {**_LIMITS, "ssl_context": tls, "network_backend": _Noting()}
    if proxy is None:
        return httpcore.AsyncConnectionPool(uds=address.uds, **options)
    if proxy.is_socks:
        return httpcore.AsyncSOCKSProxy(proxy.url, proxy_auth=proxy.auth, **options)
    proxy_tls = tls if proxy.url.startswith("https:") else None
    return httpcore.AsyncHTTPProxy(proxy.url, proxy_auth=proxy.auth, proxy_ssl_context=proxy_tls, **options)
