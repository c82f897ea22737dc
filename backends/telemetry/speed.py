"""How fast tokens come of late, beside the average that TPOT gives. Pure functions over a timeline."""

from __future__ import annotations

from bisect import bisect_right

from backends.telemetry.timeline import Timeline

WINDOW_MS = 1_000.0
"""How far back "of late" reaches."""

_AT_LEAST_MS = 200.0
"""Less time than this says nothing about a speed."""


def speed_now(timeline: Timeline, now: float) -> float | None:
    """Tokens a second in the `WINDOW_MS` before `now` (milliseconds from Enter), or since the first token where that is
    less; None before there is enough to tell, and once the turn has ended.
    """
    first = timeline.first_token_ms
    if first is None or timeline.outcome != "running":
        return None
    since = max(first, now - WINDOW_MS)
    if now - since < _AT_LEAST_MS:
        return None
    tokens = sum(timeline.chunk_tokens[bisect_right(timeline.chunk_ms, since) :])
    return 1000 * tokens / (now - since)
