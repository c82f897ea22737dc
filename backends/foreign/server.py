"""A backend on somebody's server: connection, models, cancel; a dialect adds how requests and answers are written."""

from __future__ import annotations

import asyncio
import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import msgspec

from backends.backend import ChatRequest
from backends.errors import BackendError, Code
from backends.events import Error, Event, Reasoning, Status, Token, is_terminal
from backends.foreign.reader import AnswerReader
from backends.sse.format import Format
from backends.sse.remote import Remote
from backends.sse.retries import Retries

if TYPE_CHECKING:
    from backends.sse.client import Client
    from backends.sse.stream import EventStream

_ENCODER = msgspec.json.Encoder()


class Listed(msgspec.Struct, frozen=True):
    """A model that a server lists, and whose server it is (`owned_by`), as far as it says so."""

    id: str
    owner: str = ""


@runtime_checkable
class Catalogue(Protocol):
    """A backend that can say which models it has."""

    async def models(self) -> tuple[str, ...]:
        """Their names. Raises BackendError."""
        ...


class ForeignServer(ABC):
    """A Backend on a server of other people's making. A dialect is a subclass."""

    PATH: ClassVar[str]
    """Where answers are asked for."""
    MODELS: ClassVar[str]
    """Where the models are listed."""
    FORM: ClassVar[Format] = "text/event-stream"
    READER: ClassVar[type[AnswerReader]]

    def __init__(self, remote: Remote, model: str = "", extra_body: Mapping[str, Any] | None = None) -> None:
        """`model`: for requests that name none; without it the first that the server lists. `extra_body` is merged
        into every request's JSON."""
        self._remote = remote
        self._model = model
        self._extra_body = dict(extra_body or {})
        self._listed: tuple[Listed, ...] = ()

    @abstractmethod
    def body(self, request: ChatRequest, model: str) -> dict[str, Any]:
        """The JSON of one request. Raises BackendError (BAD_REQUEST) for what cannot be said."""

    def put_otherwise(self, error: BackendError, request: ChatRequest) -> str:
        """What `body` does otherwise from now on, in words, where `error` refuses how it was done; then the request is
        sent again at once. "": nothing."""
        return ""

    @classmethod
    @abstractmethod
    def listed(cls, body: Any) -> list[Listed]:
        """The models in the decoded answer to GET `MODELS`; LookupError, TypeError, AttributeError for another form."""

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        """See `Backend.stream`. Closing the iterator closes the response: the server sees the disconnect."""
        since = time.perf_counter()
        try:
            if self._remote.has_to_connect:
                yield Status("connecting")
            client = await self._remote.client()
            retries = Retries(client.retries)
            while True:
                has_begun = False
                try:
                    async with aclosing(self._answer(client, request, since)) as events:
                        async for event in events:
                            has_begun = has_begun or isinstance(event, Token | Reasoning)
                            if isinstance(event, Error) and not has_begun:
                                raise BackendError.of(event)
                            yield event
                    return
                except BackendError as error:
                    if not has_begun and (change := self.put_otherwise(error, request)):
                        yield Status("retrying", detail=change)
                        yield retries.spent(since)
                        continue
                    delay = None if has_begun else retries.delay(error, client.left(since))
                    if delay is None:
                        raise retries.last_word(error) from None
                    yield retries.status(error, delay)
                await asyncio.sleep(delay)
                yield retries.spent(since)
        except BackendError as error:
            yield error.event()

    async def _answer(self, client: Client, request: ChatRequest, since: float) -> AsyncGenerator[Event, None]:
        """One try. Raises BackendError."""
        if not (request.model or self._model):
            await self._list(client)
        elif request.continue_from and not self._listed:
            with contextlib.suppress(BackendError):  # how it is made to go on depends on what it is
                await self._list(client)
        body = _ENCODER.encode(self.body(request, self.model_of(request)) | self._extra_body)
        # llama-server closes a connection behind a stream without saying so; what nobody read may be asked again.
        async with client.open(self.PATH, body, since=since, resend=True, form=self.FORM) as stream:
            if await stream.sent():
                yield Status("waiting")
            async with aclosing(_events(stream, client, self.READER)) as events:
                async for event in events:
                    yield event

    def model_of(self, request: ChatRequest) -> str:
        """The model that answers `request`; where nobody names one, the models have to be listed before."""
        return request.model or self._model or self._listed[0].id

    async def models(self) -> tuple[str, ...]:
        """The names of the models that the server lists now. Raises BackendError."""
        client = await self._remote.client()
        return tuple(model.id for model in await self._list(client, again=True))

    async def warm(self, request: ChatRequest) -> Error | None:
        """Open a connection by listing the models; unsent text goes nowhere."""
        try:
            client = await self._remote.client()
            if not client.connected:
                await self._list(client, again=True)
        except BackendError as error:
            return error.event()
        return None

    async def aclose(self) -> None:
        """Close all connections; running streams end with SHUTDOWN."""
        await self._remote.aclose()

    async def _list(self, client: Client, *, again: bool = False) -> tuple[Listed, ...]:
        """The models that the server lists: at least one. Raises BackendError."""
        if not self._listed or again:
            self._listed = self._parsed(await client.request("GET", self.MODELS))
        return self._listed

    def _parsed(self, body: bytes) -> tuple[Listed, ...]:
        try:
            listed = tuple(self.listed(msgspec.json.decode(body)))
        except (msgspec.DecodeError, UnicodeDecodeError, LookupError, TypeError, AttributeError):
            listed = ()
        if not listed:
            place = self._remote.address.shown + self.MODELS.partition("?")[0]
            raise BackendError(Code.NOT_FOUND, f'{place} lists no model; name one with model = "..."')
        return listed


async def _events(stream: EventStream, client: Client, reader_type: type[AnswerReader]) -> AsyncGenerator[Event, None]:
    """The answer's events, up to the terminal one. Raises BackendError."""
    await stream.answered()
    reader = reader_type(stream.timing, client.address.shown, client.secrets)
    try:
        async with aclosing(stream.frames()) as frames:
            async for frame in frames:
                for event in reader.read(frame.data, stream.now()):
                    if isinstance(event, Token | Reasoning):
                        stream.token_seen()
                    if is_terminal(event):
                        stream.complete()
                    yield event
                if reader.ended:
                    return
    except BackendError:
        if not reader.finished:
            raise
    for event in reader.end(stream.now()):
        yield event
