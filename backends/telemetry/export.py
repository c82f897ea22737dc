"""Turns for other programs: a trace for Perfetto or chrome://tracing, and JSON Lines. Pure.

Neither holds anything of what was asked or answered. The schema of a line is that of `TurnRecord`, as JSON Schema from
`schema`; fields may be added, none renamed or removed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec

from backends.telemetry.critical_path import critical_path
from backends.telemetry.stages import STAGES, MeasuredBy, Stage
from backends.telemetry.timeline import Timeline
from backends.telemetry.turns import TurnNumbers

VERSION = 1

_Ms = Annotated[float, msgspec.Meta(description="Milliseconds.")]


class SpanRecord(msgspec.Struct, frozen=True):
    """A stage: from `offset_ms` after Enter, as measured by the client, the server, or as a difference (derived)."""

    stage: Stage
    offset_ms: _Ms
    duration_ms: _Ms
    by: MeasuredBy


class PathRecord(msgspec.Struct, frozen=True):
    """A stretch of the critical path; `stage` null: what no stage accounts for."""

    stage: Stage | None
    offset_ms: _Ms
    duration_ms: _Ms


class ChunkRecord(msgspec.Struct, frozen=True, array_like=True):
    """A piece of text: when it arrived, in milliseconds since Enter, and how many tokens it held."""

    at_ms: _Ms
    tokens: int


class TurnRecord(msgspec.Struct, frozen=True):
    """One turn. `numbers` has its times in milliseconds since Enter (`ttft`, `total`; `tpot` a token), `started` in
    seconds since the epoch, counts of tokens, and `cost` in US dollars; null: not told.

    `spans` may overlap; the durations of `critical_path` add up to `total` exactly.
    """

    version: int
    numbers: TurnNumbers
    spans: tuple[SpanRecord, ...]
    critical_path: tuple[PathRecord, ...]
    chunks: tuple[ChunkRecord, ...]


def record(numbers: TurnNumbers, timeline: Timeline) -> TurnRecord:
    """A turn as it is exported."""
    end = _end(timeline)
    spans = timeline.spans(end)
    first = timeline.first_token_ms if timeline.first_token_ms is not None else end
    return TurnRecord(
        version=VERSION,
        numbers=numbers,
        spans=tuple(SpanRecord(span.stage, _ms(span.offset), _ms(span.duration), span.by) for span in spans),
        critical_path=tuple(
            PathRecord(part.stage, _ms(part.start), _ms(part.duration)) for part in critical_path(spans, first, end)
        ),
        chunks=tuple(
            ChunkRecord(_ms(at), count) for at, count in zip(timeline.chunk_ms, timeline.chunk_tokens, strict=True)
        ),
    )


def json_line(numbers: TurnNumbers, timeline: Timeline) -> bytes:
    """A turn as one line of JSON, without the line's end."""
    return msgspec.json.encode(record(numbers, timeline))


def schema() -> dict[str, Any]:
    """The JSON Schema of a line."""
    found = msgspec.json.schema(TurnRecord)
    for of in found["$defs"].values():
        if "description" in of:
            of["description"] = " ".join(of["description"].split())
    return found


def trace(turns: Sequence[tuple[TurnNumbers, Timeline]]) -> dict[str, Any]:
    """A trace in the Trace Event Format (JSON object form), which Perfetto and chrome://tracing open.

    A turn is a process; the critical path, each stage and the chunks are its threads. Times in microseconds, from the
    first turn's Enter.
    """
    origin = min((numbers.started for numbers, _ in turns), default=0.0)
    events: list[dict[str, Any]] = []
    for numbers, timeline in turns:
        events += _events(numbers, timeline, 1e6 * (numbers.started - origin))
    return {"traceEvents": events, "displayTimeUnit": "ms"}


def _events(numbers: TurnNumbers, timeline: Timeline, begin: float) -> list[dict[str, Any]]:
    end = _end(timeline)
    spans = timeline.spans(end)
    first = timeline.first_token_ms if timeline.first_token_ms is not None else end
    place = {"pid": numbers.id or 1}
    known = {name: value for name, value in msgspec.to_builtins(numbers).items() if value not in (None, "")}
    title = f"turn {numbers.id} · {numbers.backend} {numbers.model}".rstrip()
    events = [
        {"ph": "M", "name": "process_name", **place, "args": {"name": title}},
        _thread(place, 1, "critical path"),
        _slice(place, 1, "turn", begin, end, known),
    ]
    for part in critical_path(spans, first, end):
        if part.duration > 0:
            events.append(_slice(place, 1, part.stage or "unattributed", begin + 1000 * part.start, part.duration, {}))
    for span in spans:
        thread = 2 + STAGES.index(span.stage)
        events.append(_thread(place, thread, span.stage))
        about = {"measured by": span.by}
        events.append(_slice(place, thread, span.stage, begin + 1000 * span.offset, span.duration, about))
    chunks = {**place, "tid": 2 + len(STAGES)}
    events.append(_thread(place, 2 + len(STAGES), "chunks"))
    for at, count in zip(timeline.chunk_ms, timeline.chunk_tokens, strict=True):
        event = {"ph": "i", "s": "t", "name": "tokens", "cat": "tokens", **chunks}
        events.append({**event, "ts": _us(begin + 1000 * at), "args": {"tokens": count}})
    return events


def _thread(place: dict[str, int], thread: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "name": "thread_name", **place, "tid": thread, "args": {"name": name}}


def _slice(
    place: dict[str, int], thread: int, name: str, begin_us: float, ms: float, about: dict[str, Any]
) -> dict[str, Any]:
    begin = _us(begin_us)
    at = {"ts": begin, "dur": _us(_us(begin_us + 1000 * ms) - begin)}  # none reaches into the next one by rounding
    return {"ph": "X", "name": name, "cat": "stage", **place, "tid": thread, **at, "args": about}


def _end(timeline: Timeline) -> float:
    return timeline.end_ms if timeline.end_ms is not None else timeline.last_token_ms or 0.0


def _ms(value: float) -> float:
    return round(value, 3)


def _us(value: float) -> float:
    return round(value, 1)
