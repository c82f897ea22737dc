"""httpx's transport as we want it: our own sockets, the environment's proxies, and word of idle connections."""

from __future__ import annotations

from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpcore
import httpx

from backends.sse.address import Address
from backends.sse.sockets import AsyncioBackend

_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=128, keepalive_expiry=60.0)


class Transport(httpx.AsyncHTTPTransport):
    """httpx's transport that tells of idle connections; on asyncio's own sockets where it needs no TLS and no proxy."""

    def __init__(self, address: Address) -> None:
        encrypted, proxy = address.url.startswith("https:"), proxy_for(address)
        super().__init__(verify=encrypted, limits=_LIMITS, proxy=proxy)
        if not encrypted and proxy is None:
            self._pool = httpcore.AsyncConnectionPool(
                max_connections=_LIMITS.max_connections,
                max_keepalive_connections=_LIMITS.max_keepalive_connections,
                keepalive_expiry=_LIMITS.keepalive_expiry,
                uds=address.uds,
                network_backend=AsyncioBackend(),
            )

    @property
    def has_idle_connection(self) -> bool:
        """Whether a request could be sent at once."""
        return any(connection.is_idle() and not connection.has_expired() for connection in self._pool.connections)


def proxy_for(address: Address) -> str | None:
    """The proxy that the environment names for `address` (``HTTPS_PROXY``, ``NO_PROXY``, …); never for this machine."""
    parts = urlsplit(address.url)
    if address.loopback or proxy_bypass(parts.hostname or ""):
        return None
    proxies = getproxies()
    return proxies.get(parts.scheme) or proxies.get("all")
