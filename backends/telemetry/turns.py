"""One turn as a row of numbers: what statistics are made of. Pure."""

from __future__ import annotations

import time

import msgspec

from backends.backend import Feature
from backends.telemetry.summary import summarize
from backends.telemetry.timeline import Outcome, Timeline


class TurnNumbers(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Times in milliseconds since Enter, `started` in seconds since the epoch, `cost` in US dollars; None: not told.

    `queue`: how long it waited for its place. `error`: the code of the error it ended with. `id`: its number in the
    store, 0 before it is there.
    """

    id: int = 0
    started: float
    backend: str = ""
    model: str = ""
    feature: Feature = "chat"
    outcome: Outcome = "complete"
    ttft: float | None = None
    tpot: float | None = None
    total: float | None = None
    queue: float | None = None
    tokens: int = 0
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    draft_tokens: int | None = None
    accepted_tokens: int | None = None
    cost: float | None = None
    error: str = ""

    @property
    def day(self) -> str:
        """The local day on which it was asked: ``2026-11-22``."""
        return time.strftime("%Y-%m-%d", time.localtime(self.started))


def numbers_of(timeline: Timeline, started: float) -> TurnNumbers:
    """The numbers of a turn that has ended; `started`: when Enter was pressed, in seconds since the epoch."""
    summary = summarize(timeline)
    end = timeline.end_ms if timeline.end_ms is not None else timeline.status_ms
    queued = [span.duration for span in timeline.spans(end) if span.stage == "provider_queue"]
    return TurnNumbers(
        started=started,
        backend=timeline.asked.backend,
        model=summary.model or "",
        feature=timeline.asked.feature,
        outcome=summary.outcome,
        ttft=summary.ttft,
        tpot=summary.tpot,
        total=summary.total,
        queue=sum(queued) if queued else None,
        tokens=summary.tokens,
        prompt_tokens=summary.prompt_tokens,
        cached_tokens=summary.cached_tokens,
        draft_tokens=summary.draft_tokens,
        accepted_tokens=summary.accepted_tokens,
        cost=summary.cost,
        error=timeline.error.code if timeline.error else "",
    )
