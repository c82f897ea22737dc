"""The provider ``native``: another llmchat's service (`llmchat serve`), in the protocol of DESIGN.md, "Events"."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING

import msgspec

from backends import events
from backends.backend import Backend, ChatRequest
from backends.errors import BackendError, Code
from backends.events import Done, Error, Event, Meta, Reasoning, Status, Token, is_terminal
from backends.providers import ServerOptions, Site
from backends.sse.address import parse_address
from backends.sse.placement import arrival, place
from backends.sse.remote import Remote
from backends.sse.timeouts import Timeouts
from backends.telemetry.stages import MeasuredBy, Span, Stage

if TYPE_CHECKING:
    from backends.sse.client import EventStream

_ENCODER = msgspec.json.Encoder()


class Options(ServerOptions, frozen=True, kw_only=True):
    """`url`: ``http://host:port``, ``https://…`` or ``unix:/path``."""


def connect(options: Options, site: Site) -> Backend:
    """The service at `options.url`; opens no connection yet. Raises ConfigError."""
    return Native(
        options.url,
        token=options.key(site),
        timeouts=options.timeouts,
        model=options.model or None,
        headers=options.headers,
    )


class Native:
    """A Backend on the other side of HTTP: the inverse of `serve`.

    Its events are the server's, with times and spans on this side's clock, and with the stages that only this side can
    see (connect, network_in) added to every Meta.
    """

    def __init__(
        self,
        url: str = "http://localhost",
        *,
        uds: str | None = None,
        token: str | None = None,
        timeouts: Timeouts | None = None,
        model: str | None = None,
        headers: Mapping[str, str] | None = None,
        local: bool = False,
    ) -> None:
        """`uds`: path of a Unix socket, instead of `url`. `local`: the server is this user's own child process, so
        that `warm` may send it text that was not sent yet. Raises ConfigError for a wrong `url`."""
        address = parse_address(f"unix:{uds}" if uds is not None else url)
        self._remote = Remote(address, token=token, headers=headers, timeouts=timeouts)
        self._model = model
        self._local = local

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        """See `Backend.stream`. Closing the iterator closes the response, which the server sees at once."""
        since = time.perf_counter()
        try:
            client = self._remote.client()
            if not client.connected:
                yield Status("connecting")
            key = request.key or uuid.uuid4().hex
            stream = client.open("/v1/chat", self._body(request), since=since, key=key)
            async with stream, aclosing(stream.frames()) as frames:
                reader = _Reader(stream, self._remote.address.shown)
                async for frame in frames:
                    event = reader.read(frame.event, frame.data)
                    if event is None:
                        continue
                    yield event
                    if is_terminal(event):
                        return
                raise reader.interrupted()
        except BackendError as error:
            yield error.event()

    async def warm(self, request: ChatRequest) -> None:
        """Open a connection; tell the prefix to a local server only: unsent text goes nowhere else."""
        try:
            client = await self._remote.prepared_client()
            if self._local:
                await client.request("POST", "/v1/warm", self._body(request))
            elif not client.connected:
                await client.request("GET", "/healthz")
        except BackendError:
            return  # a hint; the stream will say what is wrong

    async def aclose(self) -> None:
        """Close all connections; running streams end with SHUTDOWN."""
        await self._remote.aclose()

    def _body(self, request: ChatRequest) -> bytes:
        if self._model and request.model is None:
            request = msgspec.structs.replace(request, model=self._model)
        return _ENCODER.encode(request)


class _Reader:
    """The server's events on our clock."""

    def __init__(self, stream: EventStream, where: str) -> None:
        self._stream = stream
        self._where = where
        self._arrived: float | None = None
        self._spans: dict[tuple[Stage, MeasuredBy], Span] = {}

    def read(self, name: str, data: str) -> Event | None:
        """One frame; None when this version does not know its event. Raises BackendError when it is malformed."""
        try:
            event = events.decode(name, data)
        except msgspec.DecodeError as error:
            raise BackendError(
                Code.BAD_RESPONSE, f"{self._where}: a '{name}' event is not as it should be: {error}"
            ) from None
        match event:
            case Token() | Reasoning():
                self._stream.token_seen()
            case Meta():
                return self._placed(event)
            case Done():
                self._stream.complete()
                return msgspec.structs.replace(event, latency=self._stream.now())
            case Error():
                self._stream.complete()
        return event

    def interrupted(self) -> BackendError:
        """What a body that ends without a terminal event comes to."""
        return BackendError(
            Code.INTERRUPTED, f"{self._where}: the stream ended before the answer was complete", retryable=True
        )

    def _placed(self, meta: Meta) -> Meta:
        """`meta` with every server span so far: a truer arrival moves the earlier ones too."""
        self._spans |= {(span.stage, span.by): span for span in meta.spans}
        meta = msgspec.structs.replace(meta, spans=tuple(self._spans.values()))
        received, timing = self._stream.now(), self._stream.timing
        if meta.latency is not None:
            arrived = arrival(timing, received, meta.latency)
            self._arrived = arrived if self._arrived is None else min(arrived, self._arrived)
        return place(meta, timing, received, timing.send_end if self._arrived is None else self._arrived)
