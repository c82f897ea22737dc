"""Servers on real sockets that go wrong: where a question goes to, and what is played there; see `faults`."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

from tests.fakes.dialects import Dialect
from tests.fakes.http_server import CUT, Script, Step, event_stream, http_server, response

PART = ("one ", "two ")
SHORT = 0.3
"""Seconds of the time limit that a fault runs into."""
SELF_SIGNED = Path(__file__).parents[1] / "sse" / "self_signed.pem"

Place = Callable[[Dialect], AbstractAsyncContextManager[str]]
"""The URL of something that goes wrong, in that dialect."""


# ---- where it happens


def playing(script: Callable[[Dialect], Script]) -> Place:
    """A server that plays it for every request."""

    @asynccontextmanager
    async def place(dialect: Dialect) -> AsyncIterator[str]:
        async with http_server(lambda _: script(dialect)) as server:
            yield server.url

    return place


def answering(*scripts: Callable[[Dialect], Script]) -> Place:
    """A server that plays one after another, one for each request."""

    @asynccontextmanager
    async def place(dialect: Dialect) -> AsyncIterator[str]:
        left = [script(dialect) for script in scripts]
        async with http_server(lambda _: left.pop(0)) as server:
            yield server.url

    return place


@asynccontextmanager
async def nobody(_: Dialect) -> AsyncIterator[str]:
    """A port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    yield f"http://127.0.0.1:{port}"


@asynccontextmanager
async def deaf(_: Dialect) -> AsyncIterator[str]:
    """A full queue: whoever comes next gets no answer."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            with suppress(BlockingIOError):
                each.connect(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        for each in waiting:
            each.close()


@asynccontextmanager
async def unvouched(dialect: Dialect) -> AsyncIterator[str]:
    """A certificate that nobody has vouched for."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(SELF_SIGNED)
    async with http_server(lambda _: dialect.whole(*PART), tls=tls) as server:
        yield server.url


@asynccontextmanager
async def plain(_: Dialect) -> AsyncIterator[str]:
    """What an HTTP server says to a TLS handshake."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(response(400, "text/plain", b"The plain HTTP request was expected"))
        writer.close()

    async with await asyncio.start_server(connected, "127.0.0.1", 0) as server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"


# ---- what happens there


def always(*steps: Step) -> Callable[[Dialect], Script]:
    """The same in every dialect."""
    return lambda _: steps


def after_part(*steps: Step | Callable[[Dialect], bytes], end: bool = False) -> Callable[[Dialect], Script]:
    """Two pieces of text, then `steps`, each a chunk; bytes that depend on the dialect as functions."""

    def script(dialect: Dialect) -> Script:
        written = [step(dialect) if callable(step) else step for step in steps]
        return dialect.answer(dialect.opening, *map(dialect.piece, PART), *written, end=end)

    return script


def with_bytes(change: Callable[[bytes], list[bytes]]) -> Callable[[Dialect], Script]:
    """A whole answer, its body changed and cut into chunks by `change`."""

    def script(dialect: Dialect) -> Script:
        body = dialect.opening + b"".join(map(dialect.piece, ("one ", "two ", "three"))) + dialect.closing
        return dialect.answer(*change(body))

    return script


def _raw(dialect: Dialect, text: str) -> bytes:
    """A piece whose text is not escaped."""
    return dialect.piece(text).replace(json.dumps(text)[1:-1].encode(), text.encode())


def split(dialect: Dialect) -> Script:
    """UTF-8, byte by byte."""
    body = dialect.opening + _raw(dialect, "zwölf 😀 ") + dialect.closing
    return dialect.answer(*(body[at : at + 1] for at in range(len(body))))


def gzipped(dialect: Dialect, damaged: bool = False) -> Script:
    """A compressed body that breaks off, or turns into something else."""
    packer = zlib.compressobj(wbits=31)
    part = dialect.opening + b"".join(map(dialect.piece, PART))
    packed = packer.compress(part) + packer.flush(zlib.Z_SYNC_FLUSH)
    rest = b"\xff" * 64 if damaged else (packer.compress(b"x" * 64) + packer.flush())[:4]
    return _coded(event_stream(packed, 0.05, rest, content_type=dialect.content_type))


def _coded(steps: list[Step]) -> Script:
    head = steps[0]
    assert isinstance(head, bytes)
    return [head.replace(b"\r\n\r\n", b"\r\ncontent-encoding: gzip\r\n\r\n"), *steps[1:]]


def ping(dialect: Dialect) -> bytes:
    """A sign of life without content."""
    return b"\n" if "ndjson" in dialect.content_type else b": ping\n\n"


def alive(dialect: Dialect) -> Script:
    """Signs of life through a long pause in an answer."""
    pings: list[Step] = [ping(dialect), SHORT] * 8
    begun = (dialect.opening, *map(dialect.piece, PART))
    return dialect.answer(*begun, *pings, dialect.piece("three"), dialect.closing)


def pinging(dialect: Dialect) -> Script:
    """Signs of life, and no answer."""
    return dialect.answer(dialect.opening, *[ping(dialect), 0.02] * 1000)


def malformed(dialect: Dialect) -> bytes:
    """A piece that is no JSON."""
    return dialect.piece("x").replace(b"{", b"{,", 1)


def large(dialect: Dialect) -> Script:
    """10 MB in one event."""
    return dialect.whole("x" * 10_000_000)


def crs_cut(dialect: Dialect) -> Script:
    """Lines that end in CR, and a reset."""
    begun = (dialect.opening, *map(dialect.piece, PART))
    return [*dialect.answer(*(piece.replace(b"\n", b"\r") for piece in begun), end=False), 0.05, CUT]


def retry_date() -> str:
    """Headers that ask for 20 seconds, as a date."""
    now = datetime.now(UTC)
    asked = format_datetime(now + timedelta(seconds=20), usegmt=True)
    return f"retry-after: {asked}\r\ndate: {format_datetime(now, usegmt=True)}"


HTML = b"<html><head><title>Bad gateway</title></head><body>nginx</body></html>"
BUSY = always(response(503, body=b'{"error": {"message": "busy"}}'))
