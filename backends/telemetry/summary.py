"""What a timeline comes to: TTFT, TPOT, tokens per second, total, and the account of where TTFT went.

Definitions are those of DESIGN.md, "Stages and metrics". Pure functions over a timeline.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import msgspec

from backends.telemetry.stages import Span, Stage
from backends.telemetry.timeline import Outcome, Timeline


class Account(msgspec.Struct, frozen=True):
    """Where the time to the first token went: `parts` in order of first appearance, milliseconds, plus the rest.

    The sum of `parts` and `unattributed` is `total` exactly.
    """

    total: float
    parts: tuple[tuple[Stage, float], ...]
    unattributed: float


class Summary(msgspec.Struct, frozen=True, omit_defaults=True):
    """One turn in numbers. Times in milliseconds from Enter; None where it did not come to that."""

    outcome: Outcome
    ttft: float | None
    tpot: float | None
    total: float | None
    tokens: int
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    draft_tokens: int | None = None
    accepted_tokens: int | None = None
    model: str | None = None

    @property
    def tokens_per_second(self) -> float | None:
        """1000 / TPOT."""
        return 1000.0 / self.tpot if self.tpot else None


def tpot(first_ms: float, last_ms: float, tokens: int) -> float | None:
    """(last token - first token) / (tokens - 1), in milliseconds; None below two tokens or without any time between."""
    if tokens < 2 or last_ms <= first_ms:
        return None
    return (last_ms - first_ms) / (tokens - 1)


def summarize(timeline: Timeline) -> Summary:
    """The numbers of `timeline` as they stand now."""
    usage = timeline.usage
    tokens = usage.completion_tokens if usage.completion_tokens is not None else timeline.tokens
    each = None
    if timeline.first_token_ms is not None and timeline.last_token_ms is not None:
        each = tpot(timeline.first_token_ms, timeline.last_token_ms, tokens)
    return Summary(
        outcome=timeline.outcome,
        ttft=timeline.first_token_ms,
        tpot=each,
        total=timeline.end_ms,
        tokens=tokens,
        prompt_tokens=usage.prompt_tokens,
        cached_tokens=usage.cached_tokens,
        draft_tokens=usage.draft_tokens,
        accepted_tokens=usage.accepted_tokens,
        model=usage.model,
    )


def account(spans: Iterable[Span], until_ms: float) -> Account:
    """Split the time from 0 to `until_ms` over `spans`.

    Where spans overlap, a moment belongs to the one that ends last: that is the one that was waited for (the critical
    path). What no span covers is unattributed. `total_generation` and what follows it do not count towards TTFT.
    """
    clipped = [
        (max(0.0, span.offset), min(until_ms, span.end), span)
        for span in spans
        if span.stage not in ("total_generation", "network_out", "render") and span.offset < until_ms and span.end > 0
    ]
    borders = sorted({0.0, until_ms, *(c[0] for c in clipped), *(c[1] for c in clipped)})
    parts: dict[Stage, float] = {}
    unattributed = 0.0
    for start, end in itertools.pairwise(borders):
        active = [c for c in clipped if c[0] <= start and c[1] >= end]
        if active:
            stage = max(active, key=lambda c: (c[2].end, -c[0]))[2].stage
            parts[stage] = parts.get(stage, 0.0) + end - start
        else:
            unattributed += end - start
    return Account(until_ms, tuple(parts.items()), unattributed)
