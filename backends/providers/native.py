"""The provider ``native``: another llmchat's service (`llmchat serve`), in the protocol of DESIGN.md, "Events"."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING

import msgspec

from backends import events
from backends.backend import Backend, ChatRequest, Pausable
from backends.errors import BackendError, Code, http_code
from backends.events import Done, Error, Event, Meta, Reasoning, Status, Token, is_terminal
from backends.providers import ServerOptions, Site
from backends.sse.address import parse_address
from backends.sse.credentials import Key
from backends.sse.network import Network
from backends.sse.placement import Timing, arrival, place
from backends.sse.remote import Remote
from backends.sse.retries import Retries
from backends.sse.timeouts import Timeouts
from backends.telemetry.stages import MeasuredBy, Span, Stage

if TYPE_CHECKING:
    from httpx_sse import ServerSentEvent

    from backends.sse.client import Client
    from backends.sse.stream import EventStream

_ENCODER = msgspec.json.Encoder()
_CANCEL_S = 1.0
_FIRST_DELAY_S, _LAST_DELAY_S = 0.1, 1.0
_UNANSWERED = 2
"""How often a request is sent again whose connection was lost before the answer began: its key makes that safe."""

_OVER = frozenset({Code.SHUTDOWN, Code.TIMEOUT_FIRST_TOKEN, Code.TIMEOUT_TOTAL})
"""Errors of a connection after which no other one helps, though asking again might."""


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
        network=options.network(site),
        retries=options.retries,
    )


class Native:
    """A Backend on the other side of HTTP: the inverse of `serve`.

    Its events are the server's, with times and spans on this side's clock, and with the stages that only this side can
    see (connect, network_in) added to every Meta.

    An answer whose connection is lost is resumed for as long as the server keeps it (it says so in a header): nothing
    of it is lost or comes twice, and what the gap took is reported as `connect`.
    """

    def __init__(
        self,
        url: str = "http://localhost",
        *,
        uds: str | None = None,
        token: Key | None = None,
        timeouts: Timeouts | None = None,
        model: str | None = None,
        headers: Mapping[str, str] | None = None,
        local: bool = False,
        network: Network | None = None,
        retries: int = 0,
    ) -> None:
        """`uds`: path of a Unix socket, instead of `url`. `local`: the server is this user's own child process, so
        that `warm` may send it text that was not sent yet. `retries`: how often a request that was refused is sent
        again. Raises ConfigError for a wrong `url`."""
        address = parse_address(f"unix:{uds}" if uds is not None else url)
        self._remote = Remote(
            address, token=token, headers=headers, timeouts=timeouts, network=network, retries=retries
        )
        self._model = model
        self._local = local
        self._answers: dict[str, _Answer] = {}  # by the key of their request
        self._paused: set[str] = set()  # keys

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        """See `Backend.stream`. Closing the iterator closes the response and tells the server that it is on purpose."""
        key = request.key or uuid.uuid4().hex
        answer = self._answers[key] = _Answer(self._remote.address.shown, self._local)
        answer.pause(key in self._paused)
        try:
            if self._remote.has_to_connect:
                yield Status("connecting")
            client = await self._remote.client()
            async with aclosing(self._read(client, self._body(request), key, answer)) as events:
                async for event in events:
                    yield event
        except BackendError as error:
            yield error.event()
        finally:
            self._answers.pop(key, None)
            if answer.is_kept_there:
                await self._cancel(answer.id)

    async def _read(self, client: Client, body: bytes, key: str, answer: _Answer) -> AsyncGenerator[Event, None]:
        """All events of `answer`, over as many connections as it takes. Raises BackendError."""
        retries = Retries(client.retries)
        while True:
            if answer.id:
                path = f"/v1/chat/{answer.id}/events"
                stream = client.open(path, None, since=answer.since, after=answer.last)
            else:
                stream = client.open("/v1/chat", body, since=answer.since, key=key)
            try:
                async with stream, aclosing(stream.frames()) as frames:
                    await stream.answered()
                    if gap := answer.connected(stream):
                        yield gap
                    while (frame := await answer.next(frames)) is not None:
                        if (event := answer.read(frame)) is not None:
                            yield event
                            if is_terminal(event):
                                return
                    raise answer.interrupted()
            except _Paused:
                await answer.goes_on.wait()
            except BackendError as error:
                if not answer.has_begun:
                    if (delay := retries.delay(error, client.left(answer.since))) is not None:
                        yield retries.status(error, delay)
                        await asyncio.sleep(delay)
                        yield retries.spent(answer.since)
                        continue
                    error = retries.last_word(error)
                if answer.lose(error):
                    yield Status("connecting", detail="resuming" if answer.id else "once more")
                await asyncio.sleep(answer.next_delay())

    async def _cancel(self, stream_id: str) -> None:
        """Tell the server that nobody comes back, so that it keeps no place for this answer."""
        with contextlib.suppress(BackendError, TimeoutError):
            async with asyncio.timeout(_CANCEL_S):
                await (await self._remote.client()).request("DELETE", f"/v1/chat/{stream_id}")

    # ---- Pausable

    @property
    def pausable(self) -> Pausable:
        """It is: an answer without a connection stands still at the server."""
        return self

    def pause(self, key: str) -> None:
        """See `Pausable`. At a server that parks nothing it ends the answer."""
        self._paused.add(key)
        if key in self._answers:
            self._answers[key].pause(True)

    def resume(self, key: str) -> None:
        """See `Pausable`."""
        self._paused.discard(key)
        if key in self._answers:
            self._answers[key].pause(False)

    async def warm(self, request: ChatRequest) -> Status | Error | None:
        """Open a connection; tell the prefix to a local server only: unsent text goes nowhere else."""
        try:
            client = await self._remote.client()
            if self._local:
                return _met(await client.request("POST", "/v1/warm", self._body(request)), self._remote.address.shown)
            if not client.connected:
                await client.request("GET", "/healthz")
        except BackendError as error:
            return error.event()
        return None

    async def models(self) -> tuple[str, ...]:
        """The models of the server behind the service, as far as it has any to choose from. Raises BackendError.

        The first that it lists is its own name, which stands for its default.
        """
        client = await self._remote.client()
        try:
            listed = msgspec.json.decode(await client.request("GET", "/v1/models"), type=_Listed)
        except BackendError as error:
            if error.code == http_code(404):
                return ()  # a service of an earlier version
            raise
        except msgspec.DecodeError:
            message = f"{self._remote.address.shown}/v1/models is no list of models"
            raise BackendError(Code.BAD_RESPONSE, message) from None
        return tuple(model.id for model in listed.data[1:])

    async def aclose(self) -> None:
        """Close all connections; running streams end with SHUTDOWN."""
        await self._remote.aclose()

    def _body(self, request: ChatRequest) -> bytes:
        if self._model and request.model is None:
            request = msgspec.structs.replace(request, model=self._model)
        return _ENCODER.encode(request)


class _Paused(Exception):
    """This answer is paused here, so its connection is closed."""


class _Model(msgspec.Struct):
    """One of the models."""

    id: str


class _Listed(msgspec.Struct):
    """The models of a service."""

    data: tuple[_Model, ...]


class _Met(msgspec.Struct):
    """What a hint is answered with."""

    event: str
    data: msgspec.Raw


def _met(body: bytes, where: str) -> Status | Error | None:
    """What a request would meet, as the server says. Raises BackendError (BAD_RESPONSE)."""
    try:
        met = msgspec.json.decode(body, type=_Met) if body else None
        event = None if met is None else events.decode(met.event, bytes(met.data))
    except msgspec.DecodeError as error:
        raise BackendError(
            Code.BAD_RESPONSE, f"{where}: the answer to a hint is not as it should be: {error}"
        ) from None
    return event if isinstance(event, Status | Error) else None


class _Answer:
    """One answer of the server: its events on our clock, and how far they came, whatever connection they come by."""

    def __init__(self, where: str, local: bool) -> None:
        self.since = time.perf_counter()
        self.id = ""
        self.last = 0  # the number of the newest event
        self.goes_on = asyncio.Event()
        self._where = where
        self._local = local
        self._stream: EventStream | None = None
        self._timing = Timing()  # of the first connection
        self._has_token = self._complete = False
        self._grace = 0.0
        self._lost: BackendError | None = None
        self._lost_ms = 0.0
        self._tries = 0
        self._scope: asyncio.Timeout | None = None
        self._arrived: float | None = None
        self._spans: dict[tuple[Stage, MeasuredBy], Span] = {}

    @property
    def has_begun(self) -> bool:
        """Whether the server took the request."""
        return self._stream is not None

    @property
    def is_kept_there(self) -> bool:
        """Whether the server may still keep a place for it."""
        return self._grace > 0 and not self._complete

    def connected(self, stream: EventStream) -> Meta | None:
        """`stream` goes on with it. Returns what that took, if it was lost before."""
        if self._stream is None:
            self._grace = _seconds(stream.headers.get("x-llmchat-resume-grace", ""))
            self.id = stream.headers.get("x-llmchat-id", "") if self._grace else ""
            self._timing = stream.timing
        self._stream = stream
        if self._has_token:
            stream.token_seen()
        if self._lost is None:
            return None
        return Meta(spans=(Span("connect", self._lost_ms, stream.now() - self._lost_ms, "derived"),))

    def pause(self, paused: bool) -> None:
        """Whether it is to stand still."""
        if not paused:
            self.goes_on.set()
            return
        self.goes_on.clear()
        if self._scope is not None and not self._scope.expired():  # it may have been paused a moment ago, too
            self._scope.reschedule(asyncio.get_running_loop().time())

    async def next(self, frames: AsyncGenerator[ServerSentEvent, None]) -> ServerSentEvent | None:
        """The next frame; None at the end of the body. Raises _Paused, and BackendError."""
        if not self.goes_on.is_set():
            raise _Paused
        try:
            async with asyncio.timeout(None) as self._scope:
                return await anext(frames, None)
        except TimeoutError:
            raise _Paused from None
        finally:
            self._scope = None

    def lose(self, error: BackendError) -> bool:
        """The connection was lost, or another one could not be had. True when that is new.

        Raises BackendError where there is no way on.
        """
        now = (time.perf_counter() - self.since) * 1000
        is_new = self._lost is None
        if is_new:
            self._lost_ms = now
        if not self._may_go_on(error, now - self._lost_ms):
            if self._lost is None:
                raise error
            raise BackendError(self._lost.code, f"{self._lost}; it could not be resumed: {error}", retryable=True)
        self._lost = self._lost or error
        return is_new

    def _may_go_on(self, error: BackendError, lost_for_ms: float) -> bool:
        if self._local or not error.retryable or error.code in _OVER:
            return False  # a child whose connection is lost has died
        if self.id:
            return lost_for_ms < self._grace * 1000
        return self._stream is None and error.code == Code.INTERRUPTED and self._tries < _UNANSWERED

    def next_delay(self) -> float:
        """Seconds until the next try, up to half of them by chance."""
        self._tries += 1
        delay: float = min(_LAST_DELAY_S, _FIRST_DELAY_S * 2 ** (self._tries - 1))
        return delay * random.uniform(0.5, 1.0)

    def read(self, frame: ServerSentEvent) -> Event | None:
        """One frame; None when this version does not know its event. Raises BackendError when it is malformed."""
        assert self._stream is not None
        try:
            event = events.decode(frame.event, frame.data)
        except msgspec.DecodeError as error:
            raise BackendError(
                Code.BAD_RESPONSE, f"{self._where}: a '{frame.event}' event is not as it should be: {error}"
            ) from None
        self._lost, self._tries = None, 0
        if frame.id.isascii() and frame.id.isdigit():
            self.last = int(frame.id)
        match event:
            case Token() | Reasoning():
                self._has_token = True
                self._stream.token_seen()
            case Meta():
                return self._placed(event)
            case Done():
                self._end()
                return msgspec.structs.replace(event, latency=self._stream.now())
            case Error():
                self._end()
        return event

    def interrupted(self) -> BackendError:
        """What a body that ends without a terminal event comes to."""
        return BackendError(
            Code.INTERRUPTED, f"{self._where}: the stream ended before the answer was complete", retryable=True
        )

    def _end(self) -> None:
        assert self._stream is not None
        self._complete = True
        self._stream.complete()

    def _placed(self, meta: Meta) -> Meta:
        """`meta` with every server span so far: a truer arrival moves the earlier ones too."""
        assert self._stream is not None
        self._spans |= {(span.stage, span.by): span for span in meta.spans}
        meta = msgspec.structs.replace(meta, spans=tuple(self._spans.values()))
        received, timing = self._stream.now(), self._timing
        if meta.latency is not None:
            arrived = arrival(timing, received, meta.latency)
            self._arrived = arrived if self._arrived is None else min(arrived, self._arrived)
        return place(meta, timing, received, timing.send_end if self._arrived is None else self._arrived)


def _seconds(text: str) -> float:
    """A number of seconds in a header; 0 where there is none."""
    try:
        return max(0.0, float(text))
    except ValueError:
        return 0.0
