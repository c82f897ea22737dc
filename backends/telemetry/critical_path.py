"""What was waited for, moment by moment, among stages that may overlap. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import msgspec

from backends.telemetry.stages import PARTS, Span, Stage

AFTER_FIRST_TOKEN: frozenset[Stage] = frozenset({"total_generation", "network_out", "render"})
"""The stages that do not count towards TTFT."""


class Segment(msgspec.Struct, frozen=True):
    """A stretch of the critical path, in milliseconds since Enter; `stage` None: what no stage accounts for."""

    start: float
    end: float
    stage: Stage | None

    @property
    def duration(self) -> float:
        """Its length in milliseconds."""
        return self.end - self.start


def critical_path(spans: Iterable[Span], first_token_ms: float, end_ms: float | None = None) -> tuple[Segment, ...]:
    """The path through `spans` from 0 to the first token, and on to `end_ms` where that is given, without a hole.

    Where spans overlap, a moment belongs to the one that ends last: that is the one that was waited for.
    """
    known = list(spans)
    before = [span for span in known if span.stage not in AFTER_FIRST_TOKEN | PARTS]
    path = _between(before, 0.0, first_token_ms)
    if end_ms is not None:
        path += _between([span for span in known if span.stage in AFTER_FIRST_TOKEN], first_token_ms, end_ms)
    return tuple(_joined(path))


def _between(spans: list[Span], begin: float, end: float) -> list[Segment]:
    """The path from `begin` to `end`, cut wherever a span begins or ends."""
    inside = [span for span in spans if span.offset < end and span.end > begin]
    cuts = {begin, end, *(span.offset for span in inside), *(span.end for span in inside)}
    borders = sorted(cut for cut in cuts if begin <= cut <= end)
    segments = []
    for start, stop in itertools.pairwise(borders):
        active = [span for span in inside if span.offset <= start and span.end >= stop]
        waited_for = max(active, key=lambda span: (span.end, -span.offset), default=None)
        segments.append(Segment(start, stop, waited_for.stage if waited_for else None))
    return segments


def _joined(path: list[Segment]) -> Iterable[Segment]:
    """`path` with neighbours of the same stage made one."""
    for _, run in itertools.groupby(path, lambda segment: segment.stage):
        parts = list(run)
        yield Segment(parts[0].start, parts[-1].end, parts[0].stage)
