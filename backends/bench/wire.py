"""The leanest client of both servers: one socket a request, no HTTP library, so that measuring costs neither of them.

`ServerClient` is a `Backend`. It speaks the native protocol of `backends.serve` or llama-server's ``/completion``,
which is that server's quickest way: the prompt goes in as text (llama-server renders the template, beforehand), and it
need not parse what it writes, as its chat endpoint does after every token.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Literal

import msgspec

from backends import events
from backends.backend import ChatRequest
from backends.errors import BackendError, Code
from backends.events import Done, Error, Event, Meta, Token, is_terminal

Protocol = Literal["native", "llama-server"]


class ServerClient:
    """A server on loopback TCP. Closing a stream's iterator closes its socket, without another word."""

    def __init__(self, protocol: Protocol, port: int) -> None:
        self.protocol = protocol
        self.port = port
        self._prompts: dict[bytes, str] = {}

    async def prepare(self, request: ChatRequest) -> None:
        """Do what is not to be measured: let llama-server render the template."""
        if self.protocol == "llama-server":
            turns = [{"role": turn.role, "content": turn.content} for turn in request.messages]
            reply = await self.post("/apply-template", {"messages": turns})
            self._prompts[_key(request)] = reply["prompt"]

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        """See `Backend.stream`."""
        if self.protocol == "native":
            path, body = "/v1/chat", msgspec.json.encode(request)
        else:
            if _key(request) not in self._prompts:
                await self.prepare(request)
            path, body = "/completion", msgspec.json.encode(completion(request, self._prompts[_key(request)]))
        try:
            async with _Exchange(self.port, "POST", path, body) as exchange:
                async for name, data in exchange.frames():
                    for event in self._events(name, data):
                        yield event
                        if is_terminal(event):
                            return
                raise BackendError(Code.INTERRUPTED, "the stream ended before the answer was complete")
        except (OSError, BackendError) as error:
            yield error.event() if isinstance(error, BackendError) else Error(Code.CONNECT, str(error))

    async def warm(self, request: ChatRequest) -> None:
        """See `Backend.warm`; llama-server has no such thing."""
        if self.protocol == "native":
            await self.post("/v1/warm", msgspec.to_builtins(request))

    async def aclose(self) -> None:
        """See `Backend.aclose`; there is nothing to release."""

    async def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """The JSON answer to a JSON body; None when it is empty. Raises BackendError, OSError."""
        async with _Exchange(self.port, "POST", path, msgspec.json.encode(body)) as exchange:
            raw = await exchange.rest()
            return msgspec.json.decode(raw) if raw else None

    def _events(self, name: str, data: bytes) -> list[Event]:
        if self.protocol == "native":
            event = events.decode(name, data)
            return [] if event is None else [event]
        return completion_events(_CHUNK.decode(data))


class Timings(msgspec.Struct):
    """What llama-server measured (its ``timings``), in tokens and milliseconds."""

    cache_n: int = 0
    prompt_n: int = 0
    draft_n: int | None = None
    draft_n_accepted: int | None = None


class Chunk(msgspec.Struct):
    """One frame of llama-server's ``/completion``."""

    content: str = ""
    stop: bool = False
    stop_type: str = ""
    tokens_predicted: int = 0
    timings: Timings | None = None


_CHUNK = msgspec.json.Decoder(Chunk)


def completion(request: ChatRequest, prompt: str) -> dict[str, Any]:
    """The body of llama-server's ``/completion`` for `request`, whose rendered template is `prompt`."""
    drawn = {name: getattr(request.sampling, name) for name in ("temperature", "top_k", "top_p", "min_p", "seed")}
    return {
        "prompt": prompt,
        "n_predict": request.token_limit,
        "stream": True,
        "cache_prompt": True,
        "ignore_eos": True,
        **{name: value for name, value in drawn.items() if value is not None},
    }


def completion_events(chunk: Chunk) -> list[Event]:
    """What one frame of ``/completion`` says."""
    found: list[Event] = [Token(chunk.content)] if chunk.content else []
    if chunk.stop:
        timings = chunk.timings or Timings()
        meta = Meta(
            prompt_tokens=timings.prompt_n + timings.cache_n,
            cached_tokens=timings.cache_n,
            completion_tokens=chunk.tokens_predicted,
            draft_tokens=timings.draft_n,
            accepted_tokens=timings.draft_n_accepted,
        )
        found += [meta, Done(chunk.tokens_predicted, 0.0, "length" if chunk.stop_type == "limit" else "stop")]
    return found


def _key(request: ChatRequest) -> bytes:
    return msgspec.json.encode(request.messages)


class _Exchange(asyncio.Protocol):
    """One request and its response, on a connection of its own."""

    def __init__(self, port: int, method: str, path: str, body: bytes) -> None:
        self._port = port
        self._where = f"{method} {path}"
        self._request = (
            f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        ).encode() + body
        self._transport: asyncio.Transport | None = None
        self._raw = bytearray()  # as received
        self._body = bytearray()  # without the framing of chunks
        self._status = 0
        self._chunked = False
        self._ended = False
        self._news = asyncio.Event()

    async def __aenter__(self) -> _Exchange:
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self, "127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._transport is not None:
            self._transport.abort()

    async def frames(self) -> AsyncGenerator[tuple[str, bytes], None]:
        """Name and data of each server-sent event. Raises BackendError when the status is not 200."""
        while True:
            await self._more()
            while (end := self._body.find(b"\n\n")) >= 0:
                frame = bytes(self._body[:end])
                del self._body[: end + 2]
                fields = dict(line.split(b": ", 1) for line in frame.split(b"\n") if b": " in line)
                if b"data" in fields:
                    yield fields.get(b"event", b"").decode(), fields[b"data"]
            if self._ended:
                return

    async def rest(self) -> bytes:
        """The whole body. Raises BackendError when the status is an error's."""
        while not self._ended:
            await self._more()
        return bytes(self._body)

    async def _more(self) -> None:
        await self._news.wait()
        self._news.clear()
        if self._status >= 300:
            while not self._ended:
                await self._news.wait()
                self._news.clear()
            text = self._body.decode("utf-8", "replace")
            raise BackendError(f"HTTP_{self._status}", f"{self._where}: {text[:300]}")

    # ---- called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the request."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Take off what is HTTP's."""
        self._raw += data
        if not self._status and (end := self._raw.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._raw[:end]).lower()
            del self._raw[: end + 4]
            self._status = int(head.split(b" ", 2)[1])
            self._chunked = b"transfer-encoding: chunked" in head
        if self._status:
            self._unframe()
        if self._body or self._ended:
            self._news.set()

    def connection_lost(self, error: Exception | None) -> None:
        """The end, whoever made it."""
        self._ended = True
        self._news.set()

    def _unframe(self) -> None:
        if not self._chunked:
            self._body += self._raw
            self._raw.clear()
            return
        while (line := self._raw.find(b"\r\n")) >= 0:
            size = int(bytes(self._raw[:line]).split(b";")[0], 16)
            if len(self._raw) < line + 2 + size + 2:
                return
            self._body += self._raw[line + 2 : line + 2 + size]
            del self._raw[: line + 2 + size + 2]
            if size == 0:
                self._ended = True
                return
