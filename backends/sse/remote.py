"""A server as a provider keeps it: where it is, and the `Client` that is made when it is first wanted."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from backends.errors import BackendError, Code
from backends.sse.address import Address
from backends.sse.credentials import Key
from backends.sse.network import Network
from backends.sse.timeouts import Timeouts

if TYPE_CHECKING:
    from backends.sse.client import Client


class Remote:
    """One server. httpx is imported with the first connection, not before the first frame."""

    def __init__(
        self,
        address: Address,
        *,
        token: Key | None = None,
        headers: Mapping[str, str] | None = None,
        timeouts: Timeouts | None = None,
        key_header: str = "Authorization",
        network: Network | None = None,
        retries: int = 0,
    ) -> None:
        """As `Client`; a `token` that has to be got is got with the first connection."""
        self.address = address
        self._token = token
        self._headers = dict(headers or {})
        self._timeouts = timeouts or Timeouts()
        self._key_header = key_header
        self._network = network or Network()
        self._retries = retries
        self._making = asyncio.Lock()
        self._client: Client | None = None
        self._closed = False

    @property
    def has_to_connect(self) -> bool:
        """True when no open connection waits for the next request."""
        return not self._closed and (self._client is None or not self._client.connected)

    async def client(self) -> Client:
        """The client. Raises BackendError: SHUTDOWN once closed, CONFIG where no key is to be had."""
        if self._client is None or self._closed:
            async with self._making:
                if self._client is None and not self._closed:
                    token = await self._token() if callable(self._token) else self._token
                    self._client = await asyncio.to_thread(self._made, token)  # imports, and reads certificates
        if self._client is None or self._closed:
            await self.aclose()
            raise BackendError(Code.SHUTDOWN, f"the connection to {self.address.shown} was closed here")
        return self._client

    async def aclose(self) -> None:
        """Close all connections; running streams end with SHUTDOWN."""
        self._closed = True
        if self._client is not None:
            await self._client.aclose()

    def _made(self, token: str | None) -> Client:
        from backends.sse.client import Client

        return Client(
            self.address,
            token=token,
            headers=self._headers,
            timeouts=self._timeouts,
            key_header=self._key_header,
            network=self._network,
            retries=self._retries,
        )
