"""The one place that opens an SSE stream: httpx's transport for the wire, httpx-sse for the dialects of the format.

httpx's transport is used without its client on top: no redirects (a key never travels to another host), no cookies, no
netrc, and less work between Enter and the first byte sent.
"""

from __future__ import annotations

import asyncio
import codecs
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from types import TracebackType
from typing import Any, cast

import httpx
from httpx_sse import EventSource, ServerSentEvent

from backends.errors import BackendError, Code
from backends.sse.address import Address
from backends.sse.alarm import Alarm
from backends.sse.excerpt import clean, excerpt
from backends.sse.failures import from_status, from_transport
from backends.sse.lines import Format, LineDecoder
from backends.sse.network import Network
from backends.sse.placement import Timing
from backends.sse.secrets import secrets_in
from backends.sse.timeouts import Timeouts
from backends.sse.transport import Transport

MAX_EVENT = 32 * 1024 * 1024
"""Bytes that a server may send without completing an event."""

_FORMS: dict[Format, str] = {"text/event-stream": "an event stream", "application/x-ndjson": "lines of JSON"}
_MAX_ERROR_BODY = 64 * 1024
_MAX_JSON = 8 * 1024 * 1024
_DRAIN_S = 0.25


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
    ) -> None:
        """`token` goes out as a Bearer token, or bare in another `key_header`, and is cut from every message.

        Raises ConfigError where `network` names what cannot be used.
        """
        self.address = address
        self.timeouts = timeouts or Timeouts()
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
            raise from_status(response, content[:_MAX_ERROR_BODY], self.address, self.secrets)
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
                    content = await _read(response, _MAX_JSON)
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

    def _url(self, path: str) -> str:
        return self.address.url + path


class EventStream:
    """One request and the events of its answer: an async context manager. Leaving it closes the response at once.

    Left after `complete()` it first takes what little may still come, so that the connection can be used again.
    """

    def __init__(
        self,
        client: Client,
        url: str,
        headers: dict[str, str],
        body: bytes | None,
        since: float,
        *,
        resend: bool,
        form: Format = "text/event-stream",
    ) -> None:
        self.timing = Timing()
        self._client = client
        self._since = since
        self._resend = resend
        self._form = form
        self._request = (url, headers, body)
        self._response: httpx.Response | None = None
        self._chunks: AsyncIterator[bytes] | None = None
        self._text = codecs.getincrementaldecoder("utf-8")("replace")
        self._begun = self._complete = self._token_seen = False
        self._pending = 0
        loop_since = asyncio.get_running_loop().time() - (time.perf_counter() - since)
        limits = client.timeouts
        self._first_token_at = None if limits.first_token is None else loop_since + limits.first_token
        self._total_at = None if limits.total is None else loop_since + limits.total
        self._alarm = Alarm(lambda since: self._deadline(silent_since=since)[1])

    def now(self) -> float:
        """Milliseconds since `stream()` was called."""
        return (time.perf_counter() - self._since) * 1000

    def token_seen(self) -> None:
        """The first token is here: its time limit ends."""
        self._token_seen = True

    def complete(self) -> None:
        """The answer said that it is complete."""
        self._complete = True

    async def __aenter__(self) -> EventStream:
        reused = self._client.connected
        try:
            try:
                self._response = await self._send()
            except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
                if not (reused and self._resend) or self._client.closed:
                    raise
                self._response = await self._send()
        except httpx.HTTPError as error:
            raise self._client.failure(error, answering=False) from error
        try:
            await self._check(self._response)
        except BaseException:
            await self._response.aclose()
            raise
        coded = self._response.headers.get("content-encoding")  # which was not asked for
        stream = cast(httpx.AsyncByteStream, self._response.stream)
        self._chunks = self._response.aiter_bytes() if coded else aiter(stream)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._response is not None
        self._alarm.close()
        try:
            if self._complete and self._chunks is not None and not isinstance(error, asyncio.CancelledError):
                await self._drain(self._chunks)
        finally:
            await self._response.aclose()

    async def frames(self) -> AsyncGenerator[ServerSentEvent, None]:
        """The events of the body, comments left out; ends where the body ends. Raises BackendError.

        Of a body of lines each line is the data of an event, and what no line break ends is none.
        """
        if self._form == "application/x-ndjson":
            lines = LineDecoder()
            async for text in self:
                for line in lines.feed(text):
                    self._pending = 0
                    yield ServerSentEvent(data=line)
            return
        # EventSource asks a response for its headers and its text only: this object gives it text under time limits.
        source = EventSource(cast(httpx.Response, self))
        async with aclosing(source.aiter_sse()) as frames:
            async for frame in frames:
                self._pending = 0
                yield frame

    # What EventSource wants of a response

    @property
    def headers(self) -> httpx.Headers:
        """The response's headers."""
        assert self._response is not None
        return self._response.headers

    def aiter_text(self) -> EventStream:
        """The body's text, piece by piece."""
        return self

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> str:
        while True:
            chunk = await self._next_chunk()
            if not chunk:
                raise StopAsyncIteration
            self._pending += len(chunk)
            if self._pending > MAX_EVENT:
                raise BackendError(
                    Code.BAD_RESPONSE,
                    f"{self._client.address.shown} sent {MAX_EVENT >> 20} MiB without completing an event",
                )
            if text := self._text.decode(chunk):
                if not self._begun:
                    self._begun = True
                    text = text.removeprefix("\ufeff")
                if text:
                    return text

    # Sending and waiting

    async def _send(self) -> httpx.Response:
        url, headers, body = self._request
        self.timing = Timing()
        extensions = {"timeout": {"connect": self._client.timeouts.connect}, "trace": self._trace}
        method = "GET" if body is None else "POST"
        request = httpx.Request(method, url, headers=headers, content=body, extensions=extensions)
        code, deadline = self._deadline()
        try:
            async with asyncio.timeout_at(deadline):
                return await self._client.send(request)
        except TimeoutError:
            raise self._timeout(code) from None

    async def _trace(self, name: str, info: Mapping[str, Any]) -> None:
        """httpcore's trace extension: stages bracketed where they happen."""
        if name.startswith("connection.connect_") and name.endswith(".started"):
            self.timing.connect_start = self.now()
        elif name.startswith("connection.") and name.endswith(".complete"):
            self.timing.connect_end = self.now()
        elif name.endswith(".send_request_headers.started"):
            self.timing.send_start = self.now()
        elif name.endswith(".send_request_body.complete"):
            self.timing.send_end = self.now()

    async def _check(self, response: httpx.Response) -> None:
        client = self._client
        kind = response.headers.get("content-type", "")
        if response.status_code == 200 and kind.partition(";")[0].strip().lower() == self._form:
            return
        body = b""
        try:
            async with asyncio.timeout(client.timeouts.connect):
                body = await _read(response, _MAX_ERROR_BODY)
        except (httpx.HTTPError, TimeoutError):
            body = b""  # the status says enough
        if response.status_code != 200:
            raise from_status(response, body, client.address, client.secrets)
        words = excerpt(body, client.secrets)
        found, wanted = clean(kind, 60, client.secrets) or "an unnamed type", _FORMS[self._form]
        raise BackendError(
            Code.BAD_RESPONSE,
            f"{client.address.shown} answered with {found} instead of {wanted}; "
            "is this the right URL?" + (f" It says: {words}" if words else ""),
        )

    async def _next_chunk(self) -> bytes:
        assert self._chunks is not None
        try:
            with self._alarm:
                return await anext(self._chunks, b"")
        except TimeoutError:
            raise self._timeout(self._deadline(silent_since=self._alarm.since)[0]) from None
        except httpx.HTTPError as error:
            raise self._client.failure(error, answering=True) from error

    def _deadline(self, *, silent_since: float | None = None) -> tuple[Code, float | None]:
        """Which limit ends a wait, and when (event loop time); of an answer that has begun, `silent_since` then."""
        limits: list[tuple[float, Code]] = []
        if self._first_token_at is not None and not self._token_seen:
            limits.append((self._first_token_at, Code.TIMEOUT_FIRST_TOKEN))
        if self._total_at is not None:
            limits.append((self._total_at, Code.TIMEOUT_TOTAL))
        if silent_since is not None and (idle := self._client.timeouts.idle) is not None:
            limits.append((silent_since + idle, Code.TIMEOUT_IDLE))
        if not limits:
            return Code.TIMEOUT_TOTAL, None
        at, code = min(limits)
        return code, at

    def _timeout(self, code: Code) -> BackendError:
        limits, where = self._client.timeouts, self._client.address.shown
        message = {
            Code.TIMEOUT_FIRST_TOKEN: f"{where}: no token within {limits.first_token or 0:g} s (timeouts.first_token)",
            Code.TIMEOUT_IDLE: f"{where}: silent for {limits.idle or 0:g} s (timeouts.idle)",
            Code.TIMEOUT_TOTAL: f"{where}: not complete within {limits.total or 0:g} s (timeouts.total)",
        }[code]
        return BackendError(code, message, retryable=True)

    async def _drain(self, chunks: AsyncIterator[bytes]) -> None:
        try:
            async with asyncio.timeout(_DRAIN_S):
                while await anext(chunks, b""):
                    pass
        except (TimeoutError, httpx.HTTPError):
            pass  # then the connection is closed and the next request opens another


async def _read(response: httpx.Response, limit: int) -> bytes:
    """The body, cut at `limit` bytes."""
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) >= limit:
            break
    return bytes(content[:limit])
