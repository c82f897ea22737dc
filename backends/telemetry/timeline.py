"""One timeline per turn: what happened when, on the client's one monotonic clock, in milliseconds from Enter.

A `Timeline` is filled from events as they arrive (`add`) and read by the latency panel, the summary, the explanation
and the history. It knows no socket and no screen.
"""

from __future__ import annotations

from array import array
from typing import Any, Literal

import msgspec

from backends.backend import Feature, Message
from backends.events import Done, Error, Event, Meta, Reasoning, Status, StatusName, Token
from backends.telemetry.arrivals import pack, unpack
from backends.telemetry.gaps import Gaps
from backends.telemetry.prompt_print import MessagePrint, fingerprint
from backends.telemetry.stages import Span, Stage

Outcome = Literal["running", "complete", "truncated", "cancelled", "interrupted", "failed"]

STAGE_OF: dict[StatusName, Stage] = {
    "connecting": "connect",
    "retrying": "retry",
    "waiting": "server_wait",
    "loading": "model_load",
    "queued": "provider_queue",
    "retrieving": "retrieval",
    "reranking": "reranking",
    "assembling": "context_assembly",
    "prefilling": "prefill",
    "generating": "decode_first_token",
}
"""The stage that goes on while a status stands."""

NOTICEABLE_MS = 0.5
"""A way back shorter than this is within what stamping is good to, and not told."""


_TOLD = tuple(name for name in Meta.__struct_fields__ if name not in ("latency", "spans"))
"""The fields of `Meta` that are kept from one to the next."""

_OUTCOMES: dict[str, Outcome] = {"length": "truncated", "cancelled": "cancelled", "interrupted": "interrupted"}


class Asked(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was asked of whom, as far as it matters to the times. `token_limit` 0: not known.

    `output_price`: US dollars for a million tokens of the answer, where that is configured.
    """

    backend: str = ""
    feature: Feature = "chat"
    token_limit: int = 0
    output_price: float = 0.0


class _Record(msgspec.Struct, omit_defaults=True):
    """A timeline as stored, in MessagePack. Fields may be added, none renamed.

    `usage` has the fields of `Meta`. `chunk_ms` and `chunk_tokens` are little arrays of float and of unsigned short,
    as they were kept before there was `arrivals`.
    """

    call_ms: float
    outcome: Outcome
    usage: dict[str, Any]
    spans: list[Span]
    first_token_ms: float | None = None
    last_token_ms: float | None = None
    end_ms: float | None = None
    error: Error | None = None
    tokens: int = 0
    chunk_ms: bytes = b""
    chunk_tokens: bytes = b""
    detail: str = ""
    arrivals: bytes = b""
    asked: Asked = Asked()
    queue_position: int = 0
    prompt: tuple[MessagePrint, ...] = ()


class Timeline:
    """The times of one turn. All `at` and `*_ms` values are milliseconds since Enter was pressed.

    `usage` is what the backend has told so far, later words over earlier ones (its `spans` and `latency` are not kept
    there). `chunk_ms` and `chunk_tokens`: when each piece of text came, and how many tokens it held.
    """

    def __init__(self, call_ms: float = 0.0, asked: Asked | None = None) -> None:
        """`call_ms`: when `Backend.stream` was called; spans in events count from there."""
        self.call_ms = call_ms
        self.asked = asked or Asked()
        self.usage = Meta()
        self.status: Status | None = None
        self.status_ms = call_ms
        self.first_token_ms: float | None = None
        self.last_token_ms: float | None = None
        self.end_ms: float | None = None
        self.outcome: Outcome = "running"
        self.error: Error | None = None
        self.detail = ""  # why it ended, where the outcome does not say enough
        self.queue_position = 0  # its place in the queue when it came there, from 1
        self.messages: tuple[Message, ...] = ()  # what was asked; only its fingerprint is stored
        self.tokens = 0
        self.chunk_ms = array("d")
        self.chunk_tokens = array("H")
        self.gaps = Gaps(self.chunk_ms)
        self._reported: dict[tuple[Stage, str], Span] = {}
        self._prompt: tuple[MessagePrint, ...] = ()
        self._seen: list[Span] = []  # what the arrival of status events suggests, oldest first
        self._dated = False  # the stage of the standing status was dated by its server

    @property
    def prompt(self) -> tuple[MessagePrint, ...]:
        """The fingerprint of what was asked."""
        if not self._prompt and self.messages:
            self._prompt = fingerprint(self.messages)
        return self._prompt

    def add(self, event: Event, at: float) -> None:
        """Take in one event that arrived at `at`."""
        match event:
            case Token() | Reasoning():
                self._add_tokens(event.count, at)
            case Status():
                self._add_status(event, at)
            case Meta():
                self._add_meta(event)
            case Done():
                self.detail = event.detail or self.detail
                self.end(_OUTCOMES.get(event.finish_reason, "complete"), at)
            case Error():
                self.error = event
                cut = event.code == "INTERRUPTED" or self.first_token_ms is not None  # by whatever: there is a part
                self.end("interrupted" if cut else "failed", at)

    def end(self, outcome: Outcome, at: float) -> None:
        """Close the turn; also for what no event tells: the reader's cancel, or a stream that just stopped."""
        if self.outcome == "running":
            self._close_live(at)
            self.outcome, self.end_ms = outcome, at

    def shown(self, at: float) -> None:
        """The first token stands on the reader's screen."""
        if self.outcome == "running" and self.first_token_ms is not None and at - self.first_token_ms >= NOTICEABLE_MS:
            self._seen.append(Span("render", self.first_token_ms, at - self.first_token_ms, "client"))

    def spans(self, now: float) -> list[Span]:
        """All spans known at `now`, by offset; a stage that still runs ends at `now`.

        What a backend reported replaces what the arrival of status events suggested. What came between the end of the
        generation, as the backend reports it, and the end here is `network_out`.
        """
        reported = {stage for stage, _ in self._reported}
        spans = list(self._reported.values())
        spans += [span for span in self._seen if span.stage not in reported]
        if self.outcome == "running" and self.first_token_ms is None and self.status is not None:
            stage = STAGE_OF[self.status.status]
            if stage not in reported:
                spans.append(Span(stage, self.status_ms, max(0.0, now - self.status_ms), "derived"))
        if self.first_token_ms is not None:
            spans += self._after_first_token(self.first_token_ms, now, reported)
        return sorted(spans, key=lambda span: (span.offset, span.end))

    def dump(self) -> bytes:
        """The timeline for the history; `load` reads it back. About 2 bytes a chunk."""
        end = self.end_ms if self.end_ms is not None else (self.last_token_ms or self.status_ms)
        record = _Record(
            call_ms=self.call_ms,
            outcome=self.outcome,
            usage={name: value for name in _TOLD if (value := getattr(self.usage, name)) is not None},
            spans=self.spans(end),
            first_token_ms=self.first_token_ms,
            last_token_ms=self.last_token_ms,
            end_ms=self.end_ms,
            error=self.error,
            tokens=self.tokens,
            detail=self.detail,
            arrivals=pack(self.chunk_ms, self.chunk_tokens),
            asked=self.asked,
            queue_position=self.queue_position,
            prompt=self.prompt,
        )
        return msgspec.msgpack.encode(record)

    @classmethod
    def load(cls, data: bytes) -> Timeline:
        """The timeline that `dump` wrote. Raises msgspec.DecodeError."""
        record = msgspec.msgpack.decode(data, type=_Record)
        usage = Meta(**{name: value for name, value in record.usage.items() if name in _TOLD})
        timeline = cls(record.call_ms, record.asked)
        timeline.usage, timeline.outcome, timeline.error = usage, record.outcome, record.error
        timeline.first_token_ms, timeline.last_token_ms = record.first_token_ms, record.last_token_ms
        timeline.end_ms, timeline.tokens = record.end_ms, record.tokens
        timeline.detail, timeline.queue_position = record.detail, record.queue_position
        times, counts = unpack(record.arrivals) if record.arrivals else _old_arrivals(record)
        timeline.chunk_ms.extend(times)
        timeline.chunk_tokens.extend(counts)
        timeline._seen, timeline._prompt = record.spans, record.prompt
        return timeline

    def _after_first_token(self, first: float, now: float, reported: set[Stage]) -> list[Span]:
        """The spans behind the first token that nobody reported."""
        end = self.end_ms if self.end_ms is not None else now
        made = [span for span in (*self._reported.values(), *self._seen) if span.stage == "total_generation"]
        if not made:
            return [Span("total_generation", first, max(0.0, end - first), "client")]
        left = max(first, *(span.end for span in made))
        is_known = "network_out" in reported or any(span.stage == "network_out" for span in self._seen)
        if self.end_ms is None or is_known or end - left < NOTICEABLE_MS:
            return []
        return [Span("network_out", left, end - left, "derived")]

    def _add_tokens(self, count: int, at: float) -> None:
        if self.first_token_ms is None:
            self._close_live(at)
            self.first_token_ms = at
        self.last_token_ms = at
        self.tokens += count
        self.chunk_ms.append(at)
        self.chunk_tokens.append(count if count <= 0xFFFF else 0xFFFF)

    def _add_status(self, status: Status, at: float) -> None:
        if self.status is None or self.status.status != status.status:
            self._close_live(at)
            self.status_ms, self._dated = at, False
        self.status = status
        if status.status == "generating":
            self.detail = status.detail
        if status.status == "queued":
            self.queue_position = self.queue_position or status.position
        if status.ms is not None:
            stage = STAGE_OF[status.status]
            self._seen.append(Span(stage, max(0.0, at - status.ms), status.ms, "derived"))
            self._dated = True

    def _close_live(self, at: float) -> None:
        """The stage of the standing status ends, unless its server has dated it."""
        if self.status is not None and self.first_token_ms is None and not self._dated:
            stage = STAGE_OF[self.status.status]
            self._seen.append(Span(stage, self.status_ms, at - self.status_ms, "derived"))

    def _add_meta(self, meta: Meta) -> None:
        told = {name: value for name in _TOLD if (value := getattr(meta, name)) is not None}
        self.usage = msgspec.structs.replace(self.usage, **told)
        for span in meta.spans:
            self._reported[span.stage, span.by] = span.shifted(self.call_ms)


def _old_arrivals(record: _Record) -> tuple[array[float], array[int]]:
    """The arrivals in a record of the first form."""
    times, counts = array("f"), array("H")
    times.frombytes(record.chunk_ms)
    counts.frombytes(record.chunk_tokens)
    return array("d", times), counts
