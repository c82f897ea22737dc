"""What a timeline comes to: TTFT, TPOT, tokens per second, total, and the account of where TTFT went.

Definitions are those of DESIGN.md, "Stages and metrics". Pure functions over a timeline.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from backends.telemetry.critical_path import Segment, critical_path
from backends.telemetry.stages import Span, Stage
from backends.telemetry.timeline import Outcome, Timeline


class Account(msgspec.Struct, frozen=True):
    """Where a time from Enter went: `parts` in order of first appearance, milliseconds, plus the rest.

    The sum of `parts` and `unattributed` is `total` exactly.
    """

    total: float
    parts: tuple[tuple[Stage, float], ...]
    unattributed: float


class Saved(msgspec.Struct, frozen=True):
    """What was at most saved by cancelling: the tokens up to the request's limit, and their price in US dollars."""

    tokens: int
    cost: float | None


class Summary(msgspec.Struct, frozen=True, omit_defaults=True):
    """One turn in numbers. Times in milliseconds from Enter; None where it did not come to that, or is not told.

    `cost` in US dollars; `saved` is what a cancel saved at most. The gaps between chunks are at `Timeline.gaps`.
    """

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
    cost: float | None = None
    saved: Saved | None = None

    @property
    def cached_share(self) -> float | None:
        """Of the prompt, the share that came from the prefix cache."""
        known = self.cached_tokens is not None and self.prompt_tokens
        return (self.cached_tokens or 0) / self.prompt_tokens if known and self.prompt_tokens else None

    @property
    def accepted_share(self) -> float | None:
        """Of the drafted tokens, the share that was kept."""
        return (self.accepted_tokens or 0) / self.draft_tokens if self.draft_tokens else None

    @property
    def tokens_per_second(self) -> float | None:
        """1000 / TPOT."""
        return 1000.0 / self.tpot if self.tpot else None


TOGETHER_MS = 1.0
"""What comes within so short a time was read in one go: that tells how fast it was read, not how fast it was made."""


def tpot(first_ms: float, last_ms: float, tokens: int) -> float | None:
    """(last token - first token) / (tokens - 1), in milliseconds; None below two tokens, or where all came together."""
    if tokens < 2 or last_ms - first_ms < TOGETHER_MS:
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
        cost=usage.cost,
        saved=saved(timeline),
    )


def saved(timeline: Timeline) -> Saved | None:
    """What cancelling saved at most; None for an answer that was not cancelled or had no limit."""
    asked, usage = timeline.asked, timeline.usage
    if timeline.outcome != "cancelled" or not asked.token_limit:
        return None
    made = usage.completion_tokens if usage.completion_tokens is not None else timeline.tokens
    tokens = max(0, asked.token_limit - made)
    return Saved(tokens, tokens * asked.output_price / 1_000_000 if asked.output_price else None)


def account(spans: Iterable[Span], until_ms: float) -> Account:
    """Split the time to the first token, at `until_ms`, over `spans`.

    Where spans overlap, a moment belongs to the one that was waited for (`critical_path`). What no span covers is
    unattributed. `total_generation` and what follows it do not count towards TTFT.
    """
    return _summed(critical_path(spans, until_ms), until_ms)


def total_account(timeline: Timeline) -> Account | None:
    """Split the whole turn, from Enter to its end, over its stages; None before that."""
    end = timeline.end_ms
    if end is None:
        return None
    first = timeline.first_token_ms
    return _summed(critical_path(timeline.spans(end), end if first is None else first, end), end)


def _summed(path: Iterable[Segment], total: float) -> Account:
    parts: dict[Stage, float] = {}
    unattributed = 0.0
    for segment in path:
        if segment.stage is None:
            unattributed += segment.duration
        else:
            parts[segment.stage] = parts.get(segment.stage, 0.0) + segment.duration
    return Account(total, tuple(parts.items()), unattributed)
