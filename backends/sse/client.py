"""The one place that opens connections to a server: httpx's transport for the wire, with our key and headers.

httpx's transport is used without its client on top: no redirects (a key never travels to another host), no cookies, no
netrc, and less work between Enter and the first byte sent.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from functools import lru_cache

import httpx

from backends.errors import BackendError, Code
from backends.sse.address import Address
from backends.sse.failures import from_status, from_transport
from backends.sse.format import Format
from backends.sse.network import Network
from backends.sse.secrets import secrets_in
from backends.sse.stream import MAX_ERROR_BODY, EventStream, read
from backends.sse.timeouts import Timeouts
from backends.sse.transport import Transport

_MAX_JSON = 8 * 1024 * 1024


class Client:
    """A server, its pooled connections and its key. One per backend; safe for many concurrent streams."""

    def __init__(
        self,
        address: Address,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeouts: Timeouts | None = None,
        key_header: str = "Authorization",
        network: Network | None = None,
        retries: int = 0,
    ) -> None:
        """`token` goes out as a Bearer token, or bare in another `key_header`, and is cut from every message.

        `retries`: how often a request may be sent again, for whoever does that. Raises ConfigError where `network`
        names what cannot be used.
        """
        self.address = address
        self.timeouts = timeouts or Timeouts()
        self.retries = retries
        self.closed = False
        self._headers = {"User-Agent": "llmchat", "Accept-Encoding": "identity", **(headers or {})}
        if token:
            self._headers[key_header] = f"Bearer {token}" if key_header == "Authorization" else token
        self._transport = Transport(address, network)
        self.secrets = secrets_in(headers or {}, token, self._transport.proxy)

    @property
    def connected(self) -> bool:
        """True when an open connection waits for the next request."""
        return self._transport.has_idle_connection

    def left(self, since: float) -> float | None:
        """Seconds until the first token has to be here, for a call at `since` (`time.perf_counter()`)."""
        limit = self.timeouts.first_token
        return None if limit is None else since + limit - time.perf_counter()

    def open(
        self,
        path: str,
        body: bytes | None,
        *,
        since: float,
        key: str = "",
        resend: bool = False,
        form: Format = "text/event-stream",
        after: int | None = None,
    ) -> EventStream:
        """POST `body` (JSON) and read the answer as events: ``async with client.open(...) as stream``.

        With None for `body` it is a GET. `since` is `time.perf_counter()` at the call that all times count from. `form`
        is what the answer must be written in. With `resend`, or an idempotency `key`, a request that met a connection
        which the server had just closed is sent once more. `after` is sent as the Last-Event-ID.
        """
        headers = {**self._headers, "Accept": form}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if after is not None:
            headers["Last-Event-ID"] = str(after)
        if key:
            headers["Idempotency-Key"] = key
        return EventStream(self, self._url(path), headers, body, since, resend=resend or bool(key), form=form)

    async def request(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """A short exchange, limited by `first_token`: the body of the 2xx answer, at most 8 MiB.

        Raises BackendError.
        """
        response, content = await self.exchange(method, path, body)
        if not 200 <= response.status_code < 300:
            raise from_status(response, content[:MAX_ERROR_BODY], self.address, self.secrets)
        return content

    async def exchange(self, method: str, path: str, body: bytes | None = None) -> tuple[httpx.Response, bytes]:
        """As `request`, but whatever status it has is an answer. Raises BackendError where there is none."""
        headers = dict(self._headers)
        if body is not None:
            headers["Content-Type"] = "application/json"
        limits = self.timeouts
        request = httpx.Request(
            method, self._url(path), headers=headers, content=body, extensions={"timeout": {"connect": limits.connect}}
        )
        try:
            async with asyncio.timeout(limits.first_token):
                response = await self.send(request)
                try:
                    content = await read(response, _MAX_JSON)
                finally:
                    await response.aclose()
        except httpx.HTTPError as error:
            raise self.failure(error, answering=False) from error
        except TimeoutError:
            raise BackendError(
                Code.TIMEOUT_FIRST_TOKEN,
                f"{self.address.shown}: no answer within {limits.first_token:g} s",
                retryable=True,
            ) from None
        return response, content

    async def aclose(self) -> None:
        """Close every connection; running streams end with SHUTDOWN."""
        self.closed = True
        await self._transport.aclose()

    async def send(self, request: httpx.Request) -> httpx.Response:
        """One request on a pooled connection. Raises httpx's errors, and BackendError once closed."""
        if self.closed:
            raise self._shutdown()
        return await self._transport.handle_async_request(request)

    def failure(self, error: httpx.HTTPError, *, answering: bool) -> BackendError:
        """What `error` means, here and now."""
        if self.closed:
            return self._shutdown()
        proxy = self._transport.proxy.url if self._transport.proxy else None
        seconds = self.timeouts.connect
        return from_transport(
            error, self.address, answering=answering, seconds=seconds, proxy=proxy, secrets=self.secrets
        )

    def _shutdown(self) -> BackendError:
        return BackendError(Code.SHUTDOWN, f"the connection to {self.address.shown} was closed here")

    def _url(self, path: str) -> httpx.URL:
        return _parsed(self.address.url + path)


@lru_cache(maxsize=64)
def _parsed(url: str) -> httpx.URL:
    """Kept: parsing it anew would be half of the time that building a request takes."""
    return httpx.URL(url)
