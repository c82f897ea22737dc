"""What goes wrong between a client and a server: each thing as a server on a real socket does it, and what has to come
of it on this side.

`FAULTS` is the list. `tests/sse/test_faults.py` tries each in the dialects, `python -m tests.bench.faults` prints them.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import time
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from pathlib import Path

from backends.backend import ChatRequest, Message
from backends.events import Status, Token, is_terminal
from backends.sse.timeouts import Timeouts
from backends.telemetry.timeline import Outcome, Timeline
from tests.fakes.dialects import DIALECTS, Dialect
from tests.fakes.http_server import CLOSE, CUT, Script, Step, event_stream, http_server, response
from tests.fakes.scripted import Hold

QUESTION = ChatRequest((Message("user", "count to three"),))
PART = ("one ", "two ")
WHOLE = "one two three"
PATIENCE = 30.0
SHORT = 0.3
"""Seconds of the time limit that a fault runs into."""

SELF_SIGNED = Path(__file__).parents[1] / "sse" / "self_signed.pem"

Place = Callable[[Dialect], AbstractAsyncContextManager[str]]


@dataclass(frozen=True)
class Fault:
    """`place` is where the question goes: the URL of something that goes wrong.

    It has to end as `outcome` with `code` ("": the answer is done; `OWN`: what the dialect calls an overload), with
    exactly `kept` as its text and with `says` in its message. `dialects`: those in which it is tried, where it does not
    matter which one a server speaks.
    """

    name: str
    place: Place
    outcome: Outcome
    code: str = ""
    kept: str = ""
    says: str = ""
    timeouts: Timeouts = field(default_factory=Timeouts)
    retries: int = 0
    tries: int = 0
    dialects: frozenset[str] = frozenset(DIALECTS)


OWN = "<the dialect's own>"
FORMS = frozenset({"openai", "ollama"})
"""One dialect of each form that a body has: events, and lines."""


@dataclass(frozen=True)
class Ending:
    """How it ended. `noticed`: seconds from the last text, or from the question, to the end; `tries`: those told of."""

    outcome: Outcome
    code: str
    message: str
    text: str
    noticed: float
    tries: int


async def try_out(fault: Fault, dialect: Dialect) -> Ending:
    """Ask the question there."""
    timeline, text, tries = Timeline(), "", 0
    async with (
        asyncio.timeout(PATIENCE),
        fault.place(dialect) as url,
        aclosing(dialect.connect(url, fault.timeouts, fault.retries)) as backend,
    ):
        since = ended = time.monotonic()
        async with aclosing(backend.stream(QUESTION)) as events:
            async for event in events:
                timeline.add(event, 1.0)
                if isinstance(event, Token):
                    text += event.text
                    since = time.monotonic()
                tries += isinstance(event, Status) and "try" in event.detail
                if is_terminal(event):
                    ended = time.monotonic()
    error = timeline.error
    return Ending(
        timeline.outcome, error.code if error else "", error.message if error else "", text, ended - since, tries
    )


def mistakes(fault: Fault, dialect: Dialect, ending: Ending) -> list[str]:
    """What is not as it should be."""
    code = dialect.code if fault.code == OWN else fault.code
    found = []
    if (ending.outcome, ending.code) != (fault.outcome, code):
        found.append(f"{ending.outcome} {ending.code} instead of {fault.outcome} {code}: {ending.message}")
    if ending.text != fault.kept:
        found.append(f"kept {ending.text[:40]!r} instead of {fault.kept[:40]!r}")
    if fault.says.lower() not in ending.message.lower() or "\n" in ending.message:
        found.append(f"says {ending.message!r}")
    if ending.tries != fault.tries:
        found.append(f"told of {ending.tries} more tries instead of {fault.tries}")
    return found


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
async def _nobody(_: Dialect) -> AsyncIterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    yield f"http://127.0.0.1:{port}"


@asynccontextmanager
async def _deaf(_: Dialect) -> AsyncIterator[str]:
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
async def _unvouched(dialect: Dialect) -> AsyncIterator[str]:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(SELF_SIGNED)
    async with http_server(lambda _: dialect.whole(*PART), tls=tls) as server:
        yield server.url


@asynccontextmanager
async def _plain(_: Dialect) -> AsyncIterator[str]:
    """What an HTTP server says to a TLS handshake."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(response(400, "text/plain", b"The plain HTTP request was expected"))
        writer.close()

    async with await asyncio.start_server(connected, "127.0.0.1", 0) as server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"


# ---- what happens there


def _always(*steps: Step) -> Callable[[Dialect], Script]:
    return lambda _: steps


def _after_part(*steps: Step | Callable[[Dialect], bytes], end: bool = False) -> Callable[[Dialect], Script]:
    """Two pieces of text, then `steps`, each a chunk; bytes that depend on the dialect as functions."""

    def script(dialect: Dialect) -> Script:
        written = [step(dialect) if callable(step) else step for step in steps]
        return dialect.answer(dialect.opening, *map(dialect.piece, PART), *written, end=end)

    return script


def _with_bytes(change: Callable[[bytes], list[bytes]]) -> Callable[[Dialect], Script]:
    """A whole answer, its body changed and cut into chunks by `change`."""

    def script(dialect: Dialect) -> Script:
        body = dialect.opening + b"".join(map(dialect.piece, ("one ", "two ", "three"))) + dialect.closing
        return dialect.answer(*change(body))

    return script


def _raw(dialect: Dialect, text: str) -> bytes:
    """A piece whose text is not escaped."""
    return dialect.piece(text).replace(json.dumps(text)[1:-1].encode(), text.encode())


def _split(dialect: Dialect) -> Script:
    body = dialect.opening + _raw(dialect, "zwölf 😀 ") + dialect.closing
    return dialect.answer(*(body[at : at + 1] for at in range(len(body))))


def _gzipped(dialect: Dialect, damaged: bool = False) -> Script:
    packer = zlib.compressobj(wbits=31)
    part = dialect.opening + b"".join(map(dialect.piece, PART))
    packed = packer.compress(part) + packer.flush(zlib.Z_SYNC_FLUSH)
    rest = b"\xff" * 64 if damaged else (packer.compress(b"x" * 64) + packer.flush())[:4]
    return _coded(event_stream(packed, 0.05, rest, content_type=dialect.content_type))


def _coded(steps: list[Step]) -> Script:
    head = steps[0]
    assert isinstance(head, bytes)
    return [head.replace(b"\r\n\r\n", b"\r\ncontent-encoding: gzip\r\n\r\n"), *steps[1:]]


def _ping(dialect: Dialect) -> bytes:
    return b"\n" if "ndjson" in dialect.content_type else b": ping\n\n"


def _alive(dialect: Dialect) -> Script:
    pings: list[Step] = [_ping(dialect), SHORT] * 8
    begun = (dialect.opening, *map(dialect.piece, PART))
    return dialect.answer(*begun, *pings, dialect.piece("three"), dialect.closing)


def _pinging(dialect: Dialect) -> Script:
    return dialect.answer(dialect.opening, *[_ping(dialect), 0.02] * 1000)


def _malformed(dialect: Dialect) -> bytes:
    return dialect.piece("x").replace(b"{", b"{,", 1)


def _large(dialect: Dialect) -> Script:
    return dialect.whole("x" * 10_000_000)


def _crs_cut(dialect: Dialect) -> Script:
    begun = (dialect.opening, *map(dialect.piece, PART))
    return [*dialect.answer(*(piece.replace(b"\n", b"\r") for piece in begun), end=False), 0.05, CUT]


def _retry_date() -> str:
    now = datetime.now(UTC)
    asked = format_datetime(now + timedelta(seconds=20), usegmt=True)
    return f"retry-after: {asked}\r\ndate: {format_datetime(now, usegmt=True)}"


def _status(status: int, says: str, *headers: str, outcome: Outcome = "failed") -> Fault:
    body = b'{"error": {"message": "the server\'s own words", "type": "x"}}'
    script = _always(response(status, body=body, headers=headers))
    return Fault(
        f"HTTP {status}" + (" and Retry-After" if headers else ""),
        playing(script),
        outcome,
        f"HTTP_{status}",
        says=says,
    )


_HTML = b"<html><head><title>Bad gateway</title></head><body>nginx</body></html>"
_BUSY = _always(response(503, body=b'{"error": {"message": "busy"}}'))
_part = "".join(PART)
_idle = Timeouts(idle=SHORT)

FAULTS = {
    fault.name: fault
    for fault in (
        Fault("connection refused", _nobody, "failed", "CONNECT", says="is the server running?"),
        Fault(
            "connect timeout",
            _deaf,
            "failed",
            "TIMEOUT_CONNECT",
            says="connect",
            timeouts=Timeouts(connect=SHORT),
            dialects=frozenset({"openai"}),
        ),
        Fault("unknown certificate", _unvouched, "failed", "TLS", says="certificate"),
        Fault("no TLS there", _plain, "failed", "TLS", says="try http://"),
        Fault("closed at once", playing(_always(CLOSE)), "interrupted", "INTERRUPTED", says="before answering"),
        Fault("reset at once", playing(_always(CUT)), "interrupted", "INTERRUPTED", says="before answering"),
        Fault(
            "reset in the headers",
            playing(_always(b"HTTP/1.1 200 OK\r\ncontent-ty", 0.05, CUT)),
            "interrupted",
            "INTERRUPTED",
            says="before answering",
        ),
        Fault("not HTTP", playing(_always(b"SSH-2.0-OpenSSH\r\n\r\n", CLOSE)), "failed", "BAD_RESPONSE", says="HTTP"),
        Fault(
            "no answer",
            playing(lambda _: [Hold()]),
            "failed",
            "TIMEOUT_FIRST_TOKEN",
            says="timeouts.first_token",
            timeouts=Timeouts(first_token=SHORT),
            dialects=frozenset({"openai", "native"}),
        ),
        Fault(
            "keepalives, no token",
            playing(_pinging),
            "failed",
            "TIMEOUT_FIRST_TOKEN",
            says="timeouts.first_token",
            timeouts=Timeouts(first_token=SHORT),
            dialects=FORMS,
        ),
        Fault(
            "silence in mid-answer",
            playing(lambda dialect: _after_part(Hold())(dialect)),
            "interrupted",
            "TIMEOUT_IDLE",
            _part,
            "timeouts.idle",
            _idle,
        ),
        Fault(
            "a trickle of bytes",
            playing(_after_part(*[b"d", 0.02] * 1000)),
            "interrupted",
            "TIMEOUT_IDLE",
            _part,
            "timeouts.idle",
            _idle,
            dialects=FORMS,
        ),
        Fault(
            "no end within the limit",
            playing(_after_part(*[_ping, 0.02] * 1000)),
            "interrupted",
            "TIMEOUT_TOTAL",
            _part,
            "timeouts.total",
            Timeouts(total=2 * SHORT, idle=PATIENCE),
            dialects=FORMS,
        ),
        Fault(
            "keepalives keep it alive",
            playing(_alive),
            "complete",
            kept=WHOLE,
            timeouts=Timeouts(idle=4 * SHORT),
            dialects=FORMS,
        ),
        Fault("reset in mid-answer", playing(_after_part(0.02, CUT)), "interrupted", "INTERRUPTED", _part, "middle"),
        Fault("closed in mid-answer", playing(_after_part(CLOSE)), "interrupted", "INTERRUPTED", _part, "middle"),
        Fault("no terminal event", playing(_after_part(end=True)), "interrupted", "INTERRUPTED", _part, "complete"),
        Fault("malformed JSON", playing(_after_part(_malformed, end=True)), "interrupted", "BAD_RESPONSE", _part),
        Fault(
            "an error inside a 200",
            playing(lambda dialect: dialect.answer(dialect.opening, dialect.error)),
            "failed",
            OWN,
            says="overloaded",
        ),
        Fault(
            "an error in mid-answer",
            playing(_after_part(lambda dialect: dialect.error, end=True)),
            "interrupted",
            OWN,
            _part,
            "overloaded",
        ),
        Fault(
            "another content type",
            playing(_always(response(200, "application/pdf", b"%PDF"))),
            "failed",
            "BAD_RESPONSE",
            says="application/pdf",
        ),
        Fault(
            "an HTML page", playing(_always(response(200, "text/html", _HTML))), "failed", "BAD_RESPONSE", says="Bad"
        ),
        Fault(
            "an HTML error page", playing(_always(response(502, "text/html", _HTML))), "failed", "HTTP_502", says="Bad"
        ),
        _status(400, "the server's own words"),
        _status(401, "key"),
        _status(403, "key"),
        _status(404, "no such model"),
        _status(413, "too large"),
        _status(429, "too many requests"),
        _status(429, "too many requests", "retry-after: 20"),
        _status(500, "the server's own words"),
        _status(503, "overloaded"),
        Fault(
            "HTTP 429 and a date to retry after",
            playing(lambda _: [response(429, headers=[_retry_date()])]),
            "failed",
            "HTTP_429",
            says="too many requests",
        ),
        Fault(
            "refused once, then answered",
            answering(_BUSY, lambda dialect: dialect.whole(*PART, "three")),
            "complete",
            kept=WHOLE,
            retries=2,
            tries=1,
        ),
        Fault(
            "refused again and again", playing(_BUSY), "failed", "HTTP_503", says="(tried 3 times)", retries=2, tries=2
        ),
        Fault(
            "a redirect to another host",
            playing(_always(response(307, headers=["location: http://other.example/"]))),
            "failed",
            "HTTP_307",
            says="other.example",
        ),
        Fault("CRLF", playing(_with_bytes(lambda body: [body.replace(b"\n", b"\r\n")])), "complete", kept=WHOLE),
        Fault("CR", playing(_with_bytes(lambda body: [body.replace(b"\n", b"\r")])), "complete", kept=WHOLE),
        Fault(
            "CR, then a reset",
            playing(_crs_cut),
            "interrupted",
            "INTERRUPTED",
            _part,
        ),
        Fault("a byte order mark", playing(_with_bytes(lambda body: [b"\xef\xbb\xbf" + body])), "complete", kept=WHOLE),
        Fault("UTF-8 split at every byte", playing(_split), "complete", kept="zwölf 😀 "),
        Fault("an event of 10 MB", playing(_large), "complete", kept="x" * 10_000_000, dialects=FORMS),
        Fault(
            "an endless line",
            playing(_after_part(*[b"x" * 1_000_000] * 40)),
            "interrupted",
            "BAD_RESPONSE",
            _part,
            "without completing an event",
            dialects=FORMS,
        ),
        Fault("truncated gzip", playing(_gzipped), "interrupted", "INTERRUPTED", _part),
        Fault(
            "damaged gzip",
            playing(partial(_gzipped, damaged=True)),
            "interrupted",
            "BAD_RESPONSE",
            _part,
            "compression",
        ),
    )
}
"""By name."""
