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
from httpcore._async.interfaces import AsyncConnectionInterface
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
        try:
            response = await super().handle_async_request(request)
        except BaseException:
            for stream in opened:
                await stream.aclose()
            raise
        assert isinstance(response.stream, AsyncResponseStream)
        response.stream = _Body(response.stream)
        return response

    @property
    def has_idle_connection(self) -> bool:
        """Whether a request could be sent at once."""
        return any(connection.is_idle() and not connection.has_expired() for connection in self._pool.connections)


class _Body(httpx.AsyncByteStream):
    """A response's body that gives its connection up even if a cancel comes while it is closed."""

    def __init__(self, stream: AsyncResponseStream) -> None:
        self._stream = stream

    def __aiter__(self) -> AsyncIterator[bytes]:
        return aiter(self._stream)

    async def aclose(self) -> None:
        body = self._stream._httpcore_stream
        assert isinstance(body, PoolByteStream)
        try:
            await self._stream.aclose()
        finally:
            if body._pool_request in body._pool._requests:
                body._pool._requests.remove(body._pool_request)
                await body._pool._close_connections(body._pool._assign_requests_to_connections())


class _Noting(AsyncioBackend):
    """Tells the request that opens a connection."""

    async def connect_tcp(self, *where: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        stream = await super().connect_tcp(*where, **options)
        _opened.get().append(stream)
        return stream


class _OneHost(httpcore.AsyncConnectionPool):
    """A pool whose connections all lead to the same host, as many as are wanted.

    httpcore's looks at all of them for each idle one, at every request's beginning and end (with two hundred that is a
    third of a service's time), and keeps for ever what a request leaves that is cancelled between two of its steps.
    """

    def _assign_requests_to_connections(self) -> list[AsyncConnectionInterface]:
        held = {id(request.connection) for request in self._requests}
        taken: list[AsyncConnectionInterface] = []
        idle: list[AsyncConnectionInterface] = []
        closing: list[AsyncConnectionInterface] = []
        for connection in self._connections:
            if connection.is_closed():
                continue
            if id(connection) in held:
                taken.append(connection)
            elif connection.is_idle() and not connection.has_expired():
                idle.append(connection)
            else:
                closing.append(connection)
        for request in self._requests:
            if request.is_queued():
                connection = idle.pop() if idle else self.create_connection(request.request.url.origin)
                request.assign_to_connection(connection)
                taken.append(connection)
        surplus = max(0, len(idle) - self._max_keepalive_connections)
        self._connections = [*taken, *idle[surplus:]]
        return [*closing, *idle[:surplus]]


class _HTTPProxy(_OneHost, httpcore.AsyncHTTPProxy):
    pass


class _SOCKSProxy(_OneHost, httpcore.AsyncSOCKSProxy):
    pass


def _pool(address: Address, proxy: Proxy | None, tls: ssl.SSLContext | None) -> _OneHost:
    options = {**_LIMITS, "ssl_context": tls, "network_backend": _Noting()}
    if proxy is None:
        return _OneHost(uds=address.uds, **options)
    if proxy.is_socks:
        return _SOCKSProxy(proxy.url, proxy_auth=proxy.auth, **options)
    proxy_tls = tls if proxy.url.startswith("https:") else None
    return _HTTPProxy(proxy.url, proxy_auth=proxy.auth, proxy_ssl_context=proxy_tls, **options)
