"""A server as a provider keeps it: where it is, and the `Client` that is made when it is first wanted."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from backends.errors import BackendError, Code
from backends.sse.address import Address
from backends.sse.timeouts import Timeouts

if TYPE_CHECKING:
    from backends.sse.client import Client


class Remote:
    """One server. httpx is imported with the first connection, not before the first frame."""

    def __init__(
        self,
        address: Address,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeouts: Timeouts | None = None,
        key_header: str = "Authorization",
    ) -> None:
        """As `Client`."""
        self.address = address
        self._token = token
        self._headers = dict(headers or {})
        self._timeouts = timeouts or Timeouts()
        self._key_header = key_header
        self._client: Client | None = None
        self._closed = False

    def client(self) -> Client:
        """The client. Raises BackendError (SHUTDOWN) once closed."""
        if self._closed:
            raise BackendError(Code.SHUTDOWN, f"the connection to {self.address.shown} was closed here")
        if self._client is None:
            self._client = _import_client()(
                self.address,
                token=self._token,
                headers=self._headers,
                timeouts=self._timeouts,
                key_header=self._key_header,
            )
        return self._client

    async def prepared_client(self) -> Client:
        """As `client`, with the import in a thread: the event loop goes on meanwhile."""
        if self._client is None:
            await asyncio.to_thread(_import_client)
        return self.client()

    async def aclose(self) -> None:
        """Close all connections; running streams end with SHUTDOWN."""
        self._closed = True
        if self._client is not None:
            await self._client.aclose()


def _import_client() -> type[Client]:
    from backends.sse.client import Client

    return Client
