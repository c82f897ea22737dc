"""The provider ``replay``: plays recorded streams back with their timing; and `Recorder`, which records any backend.

A recording is a file of JSON lines, one stream each, named after the time it began (so that names sort by age):

    {"request": {...}}                                   the request, in the form of POST /v1/chat
    {"ms": 12.5, "event": "token", "data": {"text": …}}  one line an event; `ms` since `stream()` was called

It holds what was asked and answered and is for its owner's eyes only (mode 0600). Keys are no part of a request.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import IO, Annotated, Any, TypeVar

import msgspec

from backends import events
from backends.around import Around
from backends.backend import Backend, ChatRequest
from backends.errors import BackendError, Code
from backends.events import Event, is_terminal
from backends.providers import ProviderOptions, Site

T = TypeVar("T")

SUFFIX = ".jsonl"

_log = logging.getLogger(__name__)
_ENCODER = msgspec.json.Encoder()


class Options(ProviderOptions, frozen=True, kw_only=True):
    """`path`: a recording, or a folder of them. `speed`: 2.0 plays twice as fast, 0 without any waiting."""

    path: str
    speed: Annotated[float, msgspec.Meta(ge=0)] = 1.0


class _Head(msgspec.Struct, frozen=True):
    request: ChatRequest


class _Line(msgspec.Struct, frozen=True):
    ms: float
    event: str
    data: msgspec.Raw


_HEAD = msgspec.json.Decoder(_Head)
_LINE = msgspec.json.Decoder(_Line)


def connect(options: Options, site: Site) -> Backend:
    """The recordings at `options.path`; they are looked for when a stream is asked for."""
    return Replay(site.path(options.path), options.speed)


class Replay:
    """A Backend that answers with recordings.

    Of a folder's recordings those are played whose last user message is the request's, the newest first and then, if
    it is asked again, the one before; without any such, all of them take turns in the same way.
    """

    def __init__(self, path: Path, speed: float = 1.0) -> None:
        """`path`: one recording, or a folder of them. `speed`: see `Options`."""
        self._path = path
        self._speed = speed
        self._played: dict[str, int] = {}
        self._closed = asyncio.Event()

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        """See `Backend.stream`; a recording that is missing or damaged is an `Error` that names file and line."""
        since = time.perf_counter()
        try:
            recording = await asyncio.to_thread(self._choose, _question(request))
            ended = False
            for ms, event in recording:
                await self._wait_until(since + ms / 1000 / self._speed if self._speed else since)
                yield event
                ended = is_terminal(event)
                if ended:
                    return
            raise BackendError(Code.INTERRUPTED, "the recording ends before the answer was complete", retryable=True)
        except BackendError as error:
            yield error.event()

    async def warm(self, request: ChatRequest) -> None:
        """Nothing to do."""

    async def aclose(self) -> None:
        """Running streams end with SHUTDOWN."""
        self._closed.set()

    async def _wait_until(self, at: float) -> None:
        rest = at - time.perf_counter()
        if not self._closed.is_set():
            if rest <= 0:
                await asyncio.sleep(0)
                return
            try:
                async with asyncio.timeout(rest):
                    await self._closed.wait()
            except TimeoutError:
                return
        raise BackendError(Code.SHUTDOWN, "the replay was closed")

    def _choose(self, question: str) -> list[tuple[float, Event]]:
        """The recording to play for `question`. Raises BackendError."""
        files = self._files()
        matching = [file for file in files if _question(_head(file)) == question] if len(files) > 1 else files
        key = question if matching else ""
        candidates = matching or files
        turn = self._played.get(key, 0)
        self._played[key] = turn + 1
        return _read(candidates[turn % len(candidates)])

    def _files(self) -> list[Path]:
        """The recordings, newest first."""
        if not self._path.is_dir():
            return [self._path]
        files = sorted(self._path.glob(f"*{SUFFIX}"), reverse=True)
        if not files:
            raise BackendError(Code.NOT_FOUND, f"{self._path}: no recordings (*{SUFFIX}) in this folder")
        return files


class Recorder(Around):
    """A Backend around any other that writes each of its streams into a file of `folder`.

    A stream that is closed early is recorded up to there. A recording that cannot be written is logged, and the answer
    goes on without.
    """

    def __init__(self, inner: Backend, folder: Path) -> None:
        """`folder` is made, for its owner only, when the first stream begins."""
        super().__init__(inner)
        self._folder = folder

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        """The inner backend's stream, unchanged."""
        since = time.perf_counter()
        inner = self.inner.stream(request)
        with _Tape(self._folder, request) as tape:
            async with aclosing(inner):
                async for event in inner:
                    tape.write((time.perf_counter() - since) * 1000, event)
                    yield event


class _Tape:
    """One recording being written; after a failure it swallows the rest."""

    def __init__(self, folder: Path, request: ChatRequest) -> None:
        self._file: IO[bytes] | None = None
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            name = f"{time.strftime('%Y%m%d-%H%M%S')}-{time.time_ns() % 10**9:09d}-{secrets.token_hex(3)}{SUFFIX}"
            descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            self._file = os.fdopen(descriptor, "wb", buffering=0)
        except OSError as error:
            self._give_up(error)
        self._put({"request": msgspec.structs.replace(request, key="")})

    def __enter__(self) -> _Tape:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, ms: float, event: Event) -> None:
        self._put({"ms": round(ms, 3), "event": events.name(event), "data": msgspec.Raw(events.encode(event))})

    def _put(self, line: dict[str, Any]) -> None:
        if self._file is not None:
            try:
                self._file.write(_ENCODER.encode(line) + b"\n")
            except OSError as error:
                self._file.close()
                self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self._file = None
        _log.warning("this stream is not recorded: %s", error)


def _question(request: ChatRequest) -> str:
    return next((message.content for message in reversed(request.messages) if message.role == "user"), "")


def _head(file: Path) -> ChatRequest:
    with _opened(file) as stream:
        return _decode(_HEAD, stream.readline(), file, 1).request


def _read(file: Path) -> list[tuple[float, Event]]:
    found = []
    with _opened(file) as stream:
        _decode(_HEAD, stream.readline(), file, 1)
        for number, raw in enumerate(stream, 2):
            if raw.strip():
                line = _decode(_LINE, raw, file, number)
                try:
                    event = events.decode(line.event, bytes(line.data))
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    raise _damaged(file, number, error) from None
                if event is not None:
                    found.append((line.ms, event))
    return found


def _opened(file: Path) -> IO[bytes]:
    try:
        return file.open("rb")
    except OSError as error:
        raise BackendError(Code.NOT_FOUND, f"{file}: the recording cannot be read: {error.strerror}") from None


def _decode(decoder: msgspec.json.Decoder[T], raw: bytes, file: Path, number: int) -> T:
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _damaged(file, number, error) from None


def _damaged(file: Path, number: int, error: Exception) -> BackendError:
    return BackendError(Code.BAD_RESPONSE, f"{file}, line {number}: the recording is damaged: {error}")
