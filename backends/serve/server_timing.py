"""What a request's stages took, as far as it is known; and the `Server-Timing` header made of it."""

from __future__ import annotations

from backends.telemetry.stages import Stage
from backends.telemetry.timeline import Timeline


def stage_durations(timeline: Timeline, now: float) -> dict[Stage, float]:
    """Milliseconds by stage, of those that are over `now` milliseconds after the request's arrival, in their order."""
    durations: dict[Stage, float] = {}
    before_the_answer = timeline.first_token_ms is None and timeline.outcome == "running"
    for span in timeline.spans(now):
        if span.by != "derived" or not before_the_answer:  # a derived one may still go on
            durations[span.stage] = durations.get(span.stage, 0.0) + span.duration
    return durations


def server_timing(timeline: Timeline, now: float) -> bytes:
    """``auth;dur=0.2, provider_queue;dur=13.0, …`` in milliseconds (w3.org/TR/server-timing): the stages that are over
    when the response begins, without the generation; empty while nothing is known."""
    durations = stage_durations(timeline, now)
    if timeline.end_ms is None:
        durations.pop("total_generation", None)
    return b", ".join(b"%b;dur=%.1f" % (stage.encode(), ms) for stage, ms in durations.items())
