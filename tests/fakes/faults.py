"""What goes wrong between a client and a server: each thing as a server on a real socket does it, and what has to come
of it on this side.

`FAULTS` is the list. `tests/sse/test_faults.py` tries each in the dialects, `python -m tests.bench.faults` prints them.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial

from backends.backend import ChatRequest, Message
from backends.events import Status, Token, is_terminal
from backends.sse.timeouts import Timeouts
from backends.telemetry.timeline import Outcome, Timeline
from tests.fakes.dialects import DIALECTS, Dialect
from tests.fakes.faulty_places import (
    BUSY,
    HTML,
    PART,
    SHORT,
    Place,
    after_part,
    alive,
    always,
    answering,
    crs_cut,
    deaf,
    gzipped,
    large,
    malformed,
    nobody,
    ping,
    pinging,
    plain,
    playing,
    retry_date,
    split,
    unvouched,
    with_bytes,
)
from tests.fakes.http_server import CLOSE, CUT, response
from tests.fakes.scripted import Hold

QUESTION = ChatRequest((Message("user", "count to three"),))
WHOLE = "one two three"
PATIENCE = 30.0


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


def _status(status: int, says: str, *headers: str, outcome: Outcome = "failed") -> Fault:
    body = b'{"error": {"message": "the server\'s own words", "type": "x"}}'
    script = always(response(status, body=body, headers=headers))
    return Fault(
        f"HTTP {status}" + (" and Retry-After" if headers else ""),
        playing(script),
        outcome,
        f"HTTP_{status}",
        says=says,
    )


_part = "".join(PART)
_idle = Timeouts(idle=SHORT)

FAULTS = {
    fault.name: fault
    for fault in (
        Fault("connection refused", nobody, "failed", "CONNECT", says="is the server running?"),
        Fault(
            "connect timeout",
            deaf,
            "failed",
            "TIMEOUT_CONNECT",
            says="connect",
            timeouts=Timeouts(connect=SHORT),
            dialects=frozenset({"openai"}),
        ),
        Fault("unknown certificate", unvouched, "failed", "TLS", says="certificate"),
        Fault("no TLS there", plain, "failed", "TLS", says="try http://"),
        Fault("closed at once", playing(always(CLOSE)), "interrupted", "INTERRUPTED", says="before answering"),
        Fault("reset at once", playing(always(CUT)), "interrupted", "INTERRUPTED", says="before answering"),
        Fault(
            "reset in the headers",
            playing(always(b"HTTP/1.1 200 OK\r\ncontent-ty", 0.05, CUT)),
            "interrupted",
            "INTERRUPTED",
            says="before answering",
        ),
        Fault("not HTTP", playing(always(b"SSH-2.0-OpenSSH\r\n\r\n", CLOSE)), "failed", "BAD_RESPONSE", says="HTTP"),
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
            playing(pinging),
            "failed",
            "TIMEOUT_FIRST_TOKEN",
            says="timeouts.first_token",
            timeouts=Timeouts(first_token=SHORT),
            dialects=FORMS,
        ),
        Fault(
            "silence in mid-answer",
            playing(lambda dialect: after_part(Hold())(dialect)),
            "interrupted",
            "TIMEOUT_IDLE",
            _part,
            "timeouts.idle",
            _idle,
        ),
        Fault(
            "a trickle of bytes",
            playing(after_part(*[b"d", 0.02] * 1000)),
            "interrupted",
            "TIMEOUT_IDLE",
            _part,
            "timeouts.idle",
            _idle,
            dialects=FORMS,
        ),
        Fault(
            "no end within the limit",
            playing(after_part(*[ping, 0.02] * 1000)),
            "interrupted",
            "TIMEOUT_TOTAL",
            _part,
            "timeouts.total",
            Timeouts(total=2 * SHORT, idle=PATIENCE),
            dialects=FORMS,
        ),
        Fault(
            "keepalives keep it alive",
            playing(alive),
            "complete",
            kept=WHOLE,
            timeouts=Timeouts(idle=4 * SHORT),
            dialects=FORMS,
        ),
        Fault("reset in mid-answer", playing(after_part(0.02, CUT)), "interrupted", "INTERRUPTED", _part, "middle"),
        Fault("closed in mid-answer", playing(after_part(CLOSE)), "interrupted", "INTERRUPTED", _part, "middle"),
        Fault("no terminal event", playing(after_part(end=True)), "interrupted", "INTERRUPTED", _part, "complete"),
        Fault("malformed JSON", playing(after_part(malformed, end=True)), "interrupted", "BAD_RESPONSE", _part),
        Fault(
            "an error inside a 200",
            playing(lambda dialect: dialect.answer(dialect.opening, dialect.error)),
            "failed",
            OWN,
            says="overloaded",
        ),
        Fault(
            "an error in mid-answer",
            playing(after_part(lambda dialect: dialect.error, end=True)),
            "interrupted",
            OWN,
            _part,
            "overloaded",
        ),
        Fault(
            "another content type",
            playing(always(response(200, "application/pdf", b"%PDF"))),
            "failed",
            "BAD_RESPONSE",
            says="application/pdf",
        ),
        Fault("an HTML page", playing(always(response(200, "text/html", HTML))), "failed", "BAD_RESPONSE", says="Bad"),
        Fault(
            "an HTML error page", playing(always(response(502, "text/html", HTML))), "failed", "HTTP_502", says="Bad"
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
            playing(lambda _: [response(429, headers=[retry_date()])]),
            "failed",
            "HTTP_429",
            says="too many requests",
        ),
        Fault(
            "refused once, then answered",
            answering(BUSY, lambda dialect: dialect.whole(*PART, "three")),
            "complete",
            kept=WHOLE,
            retries=2,
            tries=1,
        ),
        Fault(
            "refused again and again", playing(BUSY), "failed", "HTTP_503", says="(tried 3 times)", retries=2, tries=2
        ),
        Fault(
            "a redirect to another host",
            playing(always(response(307, headers=["location: http://other.example/"]))),
            "failed",
            "HTTP_307",
            says="other.example",
        ),
        Fault("CRLF", playing(with_bytes(lambda body: [body.replace(b"\n", b"\r\n")])), "complete", kept=WHOLE),
        Fault("CR", playing(with_bytes(lambda body: [body.replace(b"\n", b"\r")])), "complete", kept=WHOLE),
        Fault(
            "CR, then a reset",
            playing(crs_cut),
            "interrupted",
            "INTERRUPTED",
            _part,
        ),
        Fault("a byte order mark", playing(with_bytes(lambda body: [b"\xef\xbb\xbf" + body])), "complete", kept=WHOLE),
        Fault("UTF-8 split at every byte", playing(split), "complete", kept="zwölf 😀 "),
        Fault("an event of 10 MB", playing(large), "complete", kept="x" * 10_000_000, dialects=FORMS),
        Fault(
            "an endless line",
            playing(after_part(*[b"x" * 1_000_000] * 40)),
            "interrupted",
            "BAD_RESPONSE",
            _part,
            "without completing an event",
            dialects=FORMS,
        ),
        Fault("truncated gzip", playing(gzipped), "interrupted", "INTERRUPTED", _part),
        Fault(
            "damaged gzip",
            playing(partial(gzipped, damaged=True)),
            "interrupted",
            "BAD_RESPONSE",
            _part,
            "compression",
        ),
    )
}
"""By name."""
