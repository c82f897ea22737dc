"""One request and its answer: sending, waiting within time limits, and the events as they come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

import httpx
from httpx_sse import EventSource, ServerSentEvent

from backends.errors import BackendError, Code
from backends.sse.alarm import Alarm
from backends.sse.decode import EventText, LineDecoder
from backends.sse.excerpt import clean, excerpt
from backends.sse.failures import from_status
from backends.sse.format import Format
from backends.sse.placement import Timing
from backends.sse.sockets import LOOKUP

if TYPE_CHECKING:
    from backends.sse.client import Client

MAX_EVENT = 32 * 1024 * 1024
"""Bytes that a server may send without completing an event."""

MAX_ERROR_BODY = 64 * 1024
_ALIVE = 4096
"""Bytes that show life where they complete no line; fewer may be a trickle that never comes to anything."""
_FORMS: dict[Format, str] = {"text/event-stream": "an event stream", "application/x-ndjson": "lines of JSON"}
_DRAIN_S = 0.25


class EventStream:
    """One request and the events of its answer: an async context manager. Leaving it closes the response at once.

    Entering sends the request. Left after `complete()` it first takes what little may still come, so that the
    connection can be used again.
    """

    def __init__(
        self,
        client: Client,
        url: httpx.URL,
        headers: dict[str, str],
        body: bytes | None,
        since: float,
        *,
        resend: bool,
        form: Format = "text/event-stream",
    ) -> None:
        """See `Client.open`."""
        self.timing = Timing()
        self._client = client
        self._since = since
        self._resend = resend
        self._form = form
        self._request = (url, headers, body)
        self._sent = asyncio.Event()
        self._sending: asyncio.Task[httpx.Response] | None = None
        self._chunks: AsyncIterator[bytes] | None = None
        self._lines = LineDecoder()
        self._text = EventText()
        self._complete = self._token_seen = False
        self._pending = 0  # bytes since the last event
        self._trickle = 0  # bytes since the last sign of life
        self._silent = 0.0  # seconds that were waited since then
        self._loop = asyncio.get_running_loop()
        loop_since = self._loop.time() - (time.perf_counter() - since)
        limits = client.timeouts
        self._first_token_at = None if limits.first_token is None else loop_since + limits.first_token
        self._total_at = None if limits.total is None else loop_since + limits.total
        self._alarm = Alarm(lambda since: self._deadline(waiting_since=since)[1])

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
        self._sending = asyncio.create_task(self._answer(), name="request")
        self._sending.add_done_callback(lambda _: self._sent.set())
        return self

    async def sent(self) -> bool:
        """Returns when the request is with the operating system; False where it did not come to that."""
        await self._sent.wait()
        return self.timing.send_end > 0

    async def answered(self) -> None:
        """Returns when the answer begins to come, in the form that was asked for. Raises BackendError."""
        assert self._sending is not None
        await self._sending

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._sending is not None
        self._alarm.close()
        if not self._sending.done():
            self._sending.cancel()
            await asyncio.wait([self._sending])
        if self._sending.cancelled() or self._sending.exception() is not None:
            return
        try:
            if self._complete and self._chunks is not None and not isinstance(error, asyncio.CancelledError):
                await self._drain(self._chunks)
        finally:
            await self._response.aclose()

    async def frames(self) -> AsyncGenerator[ServerSentEvent, None]:
        """The events of the body, comments left out; ends where the body ends. Raises BackendError.

        Of a body of lines each line is the data of an event, and what no line break ends is none.
        """
        await self.answered()
        if self._form == "application/x-ndjson":
            while (lines := await self._next_lines()) is not None:
                for line in filter(str.strip, lines):
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
        """The response's headers, once it was `answered`."""
        return self._response.headers

    def aiter_text(self) -> EventStream:
        """The body's text, piece by piece."""
        return self

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> str:
        while (lines := await self._next_lines()) is not None:
            if text := self._text.of(lines):
                return text
        raise StopAsyncIteration

    # Sending and waiting

    @property
    def _response(self) -> httpx.Response:
        assert self._sending is not None
        return self._sending.result()

    async def _answer(self) -> httpx.Response:
        """Send the request, and read the head of the answer. Raises BackendError."""
        try:
            try:
                response = await self._send()
            except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
                is_reused = self.timing.connect_start is None
                if not (is_reused and self._resend) or self._client.closed:
                    raise
                response = await self._send()
        except httpx.HTTPError as error:
            raise self._client.failure(error, answering=False) from error
        self.timing.head = self.now()
        if self._client.address.uds is None:
            self.timing.protocol = response.extensions["http_version"].decode("ascii", "replace")
        try:
            await self._check(response)
        except BaseException:
            await response.aclose()
            raise
        coded = response.headers.get("content-encoding")  # which was not asked for
        self._chunks = response.aiter_bytes() if coded else aiter(cast(httpx.AsyncByteStream, response.stream))
        return response

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
        """httpcore's trace extension: stages bracketed where they happen. A proxy's have the same names."""
        now, timing = self.now(), self.timing
        match name.partition(".")[2]:
            case "connect_tcp.started" | "connect_unix_socket.started":
                timing.connect_start = now
            case "connect_tcp.complete":
                lookup = info["return_value"].get_extra_info(LOOKUP)
                timing.lookup = None if lookup is None else 1000 * lookup
                timing.tcp_end = timing.connect_end = now
            case "start_tls.started":
                timing.tls_start = now
            case "start_tls.complete" | "connect_unix_socket.complete" | "setup_socks5_connection.complete":
                timing.connect_end = now
            case "send_request_headers.started":
                timing.send_start = now
            case "send_request_body.complete":
                timing.send_end = now
                self._sent.set()

    async def _check(self, response: httpx.Response) -> None:
        client = self._client
        kind = response.headers.get("content-type", "")
        if response.status_code == 200 and kind.partition(";")[0].strip().lower() == self._form:
            return
        body = b""
        try:
            async with asyncio.timeout(client.timeouts.connect):
                body = await read(response, MAX_ERROR_BODY)
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

    async def _next_lines(self) -> list[str] | None:
        """The lines that the next piece of the body completes; None at its end. Raises BackendError."""
        chunk = await self._next_chunk()
        if not chunk:
            return None
        if self.timing.first_byte is None:
            self.timing.first_byte = self.now()
        lines = self._lines.feed(chunk)
        self._pending += len(chunk)
        self._trickle += len(chunk)
        if lines or self._trickle >= _ALIVE:
            self._trickle, self._silent = 0, 0.0
        else:
            self._silent += self._loop.time() - self._alarm.since
        if self._pending > MAX_EVENT:
            where, limit = self._client.address.shown, f"{MAX_EVENT >> 20} MiB"
            raise BackendError(Code.BAD_RESPONSE, f"{where} sent {limit} without completing an event")
        return lines

    async def _next_chunk(self) -> bytes:
        """More of the body; empty at its end."""
        assert self._chunks is not None
        try:
            with self._alarm:
                return await anext(self._chunks, b"")
        except TimeoutError:
            raise self._timeout(self._deadline(waiting_since=self._alarm.since)[0]) from None
        except httpx.HTTPError as error:
            raise self._client.failure(error, answering=True) from error

    def _deadline(self, *, waiting_since: float | None = None) -> tuple[Code, float | None]:
        """Which limit ends a wait, and when (event loop time). `waiting_since`: for more of an answer that began."""
        limits: list[tuple[float, Code]] = []
        if self._first_token_at is not None and not self._token_seen:
            limits.append((self._first_token_at, Code.TIMEOUT_FIRST_TOKEN))
        if self._total_at is not None:
            limits.append((self._total_at, Code.TIMEOUT_TOTAL))
        if waiting_since is not None and (idle := self._client.timeouts.idle) is not None:
            limits.append((waiting_since + idle - self._silent, Code.TIMEOUT_IDLE))
        if not limits:
            return Code.TIMEOUT_TOTAL, None
        at, code = min(limits)
        return code, at

    def _timeout(self, code: Code) -> BackendError:
        limits, where = self._client.timeouts, self._client.address.shown
        message = {
            Code.TIMEOUT_FIRST_TOKEN: f"{where}: no token within {limits.first_token or 0:g} s (timeouts.first_token)",
            Code.TIMEOUT_IDLE: f"{where}: nothing more for {limits.idle or 0:g} s (timeouts.idle)",
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


async def read(response: httpx.Response, limit: int) -> bytes:
    """The body, cut at `limit` bytes. Raises httpx's errors."""
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) >= limit:
            break
    return bytes(content[:limit])
