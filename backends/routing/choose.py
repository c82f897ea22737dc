"""The decision: which backend gets a request, why, and how long it may take. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal

import msgspec

from backends.routing.measured import Measured

Preference = Literal["fastest", "order"]
"""The one that is expected to begin first, or the first that is expected to begin within its limit."""


class Candidate(msgspec.Struct, frozen=True):
    """A backend by its name, the `model` it is to answer with ("": its own), and its limit to the first token."""

    backend: str
    model: str
    limit_ms: float

    @property
    def shown(self) -> str:
        """What a person reads."""
        return f"{self.backend} ({self.model})" if self.model else self.backend


class Choice(msgspec.Struct, frozen=True):
    """The candidate at `index`, and `why` in words. `limit_ms`: after that the next one is asked; None: nobody is left
    who could be."""

    index: int
    why: str
    limit_ms: float | None


def choose(
    candidates: Sequence[Candidate],
    measured: Sequence[Measured],
    preference: Preference,
    now: float,
    *,
    failed: Collection[int] = (),
    slow: Collection[int] = (),
) -> Choice | None:
    """Who gets the request. None: nobody is left.

    `failed` and `slow` have been asked for this very request. Who was only too slow is asked again, without a limit,
    when nobody else can be; who is avoided, when nobody else is left.
    """
    fresh = [index for index in range(len(candidates)) if index not in failed and index not in slow]
    healthy = [index for index in fresh if not measured[index].is_avoided(now)]
    if healthy:
        index, why = _preferred(candidates, measured, preference, now, healthy)
        return Choice(index, why, candidates[index].limit_ms if len(healthy) > 1 or slow else None)
    if again := [index for index in slow if index not in failed]:
        return Choice(again[0], "nobody else can answer; without a limit", None)
    if fresh:
        index = min(fresh, key=lambda index: measured[index].avoid_until)
        return Choice(index, "all have failed lately; this one is the next to be tried again", None)
    return None


def _preferred(
    candidates: Sequence[Candidate],
    measured: Sequence[Measured],
    preference: Preference,
    now: float,
    healthy: Sequence[int],
) -> tuple[int, str]:
    expected = {index: measured[index].expected_ms(now) for index in healthy}
    if len(healthy) == 1:
        others = "the others have failed lately" if len(candidates) > 1 else "there is no other"
        return healthy[0], others
    if preference == "order":
        over: list[str] = []
        for index in healthy:
            ms, limit = expected[index], candidates[index].limit_ms
            if ms is None or ms <= limit:
                return index, "; ".join([*over, "first in order" if not over else "next in order"])
            over.append(f"{candidates[index].backend} is expected to take {_ms(ms)} of {_ms(limit)}")
    unknown = next((index for index in healthy if expected[index] is None), None)
    if unknown is not None:
        return unknown, "not measured yet"
    fastest = min(healthy, key=lambda index: (expected[index] or 0.0, measured[index].running, index))
    rest = min(expected[index] or 0.0 for index in healthy if index != fastest)
    return fastest, f"fastest, {_ms(expected[fastest] or 0.0)} expected, next {_ms(rest)}"


def _ms(ms: float) -> str:
    return f"{ms:.0f} ms" if ms < 1000 else f"{ms / 1000:.1f} s"
