"""One timeline per turn: what happened when, on the client's one monotonic clock, in milliseconds from Enter.

A `Timeline` is filled from events as they arrive (`add`) and read by the latency panel, the summary, the explanation
and the history. It knows no socket and no screen.
"""

from __future__ import annotations

from array import array
from typing import Literal

import msgspec

from backends.events import Done, Error, Event, Meta, Reasoning, Status, StatusName, Token
from backends.telemetry.stages import Span, Stage

Outcome = Literal["running", "complete", "truncated", "cancelled", "interrupted", "failed"]

STAGE_OF: dict[StatusName, Stage] = {
    "connecting": "connect",
    "loading": "model_load",
    "queued": "provider_queue",
    "retrieving": "retrieval",
    "reranking": "reranking",
    "assembling": "context_assembly",
    "prefilling": "prefill",
    "generating": "decode_first_token",
}
"""The stage that goes on while a status stands."""


class Usage(msgspec.Struct, omit_defaults=True):
    """What the backend told; None means "not told". Same names and units as `backends.events.Meta`."""

    model: str | None = None
    request_id: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    draft_tokens: int | None = None
    accepted_tokens: int | None = None
    kv_used: int | None = None
    kv_cells: int | None = None
    kv_bytes_per_token: int | None = None
    cache_write_tokens: int | None = None
    cost: float | None = None


class _Record(msgspec.Struct, omit_defaults=True):
    """A timeline as stored: MessagePack, chunk arrays as little bytes. Fields may be added, none renamed."""

    call_ms: float
    outcome: Outcome
    usage: Usage
    spans: list[Span]
    first_token_ms: float | None = None
    last_token_ms: float | None = None
    end_ms: float | None = None
    error: Error | None = None
    tokens: int = 0
    chunk_ms: bytes = b""
    chunk_tokens: bytes = b""
    detail: str = ""


class Timeline:
    """The times of one turn. All `at` and `*_ms` values are milliseconds since Enter was pressed."""

    def __init__(self, call_ms: float = 0.0) -> None:
        """`call_ms`: when `Backend.stream` was called; spans in events count from there."""
        self.call_ms = call_ms
        self.usage = Usage()
        self.status: Status | None = None
        self.status_ms = call_ms
        self.first_token_ms: float | None = None
        self.last_token_ms: float | None = None
        self.end_ms: float | None = None
        self.outcome: Outcome = "running"
        self.error: Error | None = None
        self.detail = ""  # why it ended, where the outcome does not say enough
        self.tokens = 0
        self.chunk_ms = array("f")
        self.chunk_tokens = array("H")
        self._reported: dict[tuple[Stage, str], Span] = {}
        self._live: dict[Stage, Span] = {}

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
                outcomes: dict[str, Outcome] = {
                    "length": "truncated",
                    "cancelled": "cancelled",
                    "interrupted": "interrupted",
                }
                self.detail = event.detail or self.detail
                self.end(outcomes.get(event.finish_reason, "complete"), at)
            case Error():
                self.error = event
                self.end("interrupted" if event.code == "INTERRUPTED" else "failed", at)

    def end(self, outcome: Outcome, at: float) -> None:
        """Close the turn; also for what no event tells: the reader's cancel, or a stream that just stopped."""
        if self.outcome == "running":
            self._close_live(at)
            self.outcome, self.end_ms = outcome, at

    def spans(self, now: float) -> list[Span]:
        """All spans known at `now`, by offset; a stage that still runs ends at `now`.

        What a backend reported replaces what the arrival of status events suggested.
        """
        reported = {stage for stage, _ in self._reported}
        spans = list(self._reported.values())
        spans += [span for stage, span in self._live.items() if stage not in reported]
        if self.outcome == "running" and self.first_token_ms is None and self.status is not None:
            stage = STAGE_OF[self.status.status]
            if stage not in reported:
                spans.append(Span(stage, self.status_ms, max(0.0, now - self.status_ms), "derived"))
        if self.first_token_ms is not None and "total_generation" not in reported:
            end = self.end_ms if self.end_ms is not None else now
            spans.append(Span("total_generation", self.first_token_ms, max(0.0, end - self.first_token_ms), "client"))
        return sorted(spans, key=lambda span: (span.offset, span.end))

    def dump(self) -> bytes:
        """The timeline for the history; `load` reads it back. About 6 bytes a chunk."""
        record = _Record(
            call_ms=self.call_ms,
            outcome=self.outcome,
            usage=self.usage,
            spans=self.spans(self.end_ms if self.end_ms is not None else (self.last_token_ms or self.status_ms)),
            first_token_ms=self.first_token_ms,
            last_token_ms=self.last_token_ms,
            end_ms=self.end_ms,
            error=self.error,
            tokens=self.tokens,
            chunk_ms=self.chunk_ms.tobytes(),
            chunk_tokens=self.chunk_tokens.tobytes(),
            detail=self.detail,
        )
        return msgspec.msgpack.encode(record)

    @classmethod
    def load(cls, data: bytes) -> Timeline:
        """The timeline that `dump` wrote. Raises msgspec.DecodeError."""
        record = msgspec.msgpack.decode(data, type=_Record)
        timeline = cls(record.call_ms)
        timeline.usage, timeline.outcome, timeline.error = record.usage, record.outcome, record.error
        timeline.first_token_ms, timeline.last_token_ms = record.first_token_ms, record.last_token_ms
        timeline.end_ms, timeline.tokens = record.end_ms, record.tokens
        timeline.detail = record.detail
        timeline.chunk_ms.frombytes(record.chunk_ms)
        timeline.chunk_tokens.frombytes(record.chunk_tokens)
        timeline._reported = {(span.stage, span.by): span for span in record.spans}
        return timeline

    def _add_tokens(self, count: int, at: float) -> None:
        if self.first_token_ms is None:
            self._close_live(at)
            self.first_token_ms = at
        self.last_token_ms = at
        self.tokens += count
        self.chunk_ms.append(at)
        self.chunk_tokens.append(min(count, 0xFFFF))

    def _add_status(self, status: Status, at: float) -> None:
        if self.status is None or self.status.status != status.status:
            self._close_live(at)
            self.status_ms = at
        self.status = status
        if status.status == "generating":
            self.detail = status.detail
        if status.ms is not None:
            stage = STAGE_OF[status.status]
            self._live[stage] = Span(stage, max(0.0, at - status.ms), status.ms, "derived")

    def _close_live(self, at: float) -> None:
        if self.status is not None and self.first_token_ms is None:
            stage = STAGE_OF[self.status.status]
            self._live.setdefault(stage, Span(stage, self.status_ms, at - self.status_ms, "derived"))

    def _add_meta(self, meta: Meta) -> None:
        for field in Usage.__struct_fields__:
            value = getattr(meta, field)
            if value is not None:
                setattr(self.usage, field, value)
        for span in meta.spans:
            self._reported[span.stage, span.by] = span.shifted(self.call_ms)
