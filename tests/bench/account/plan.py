"""What the slow server is to do, run by run: known to it and to whoever judges the account, told to nobody else."""

from __future__ import annotations

import random

import msgspec

from backends.events import StatusName
from backends.telemetry.stages import Span, Stage
from backends.telemetry.timeline import STAGE_OF

IN_ORDER: tuple[StatusName, ...] = (
    *("retrieving", "reranking", "assembling", "loading", "queued", "prefilling", "generating"),
)


class Plan(msgspec.Struct, frozen=True):
    """One run, in milliseconds: what passes on the way there and back, the stages, and the pace of the tokens.

    Unless the server has `told` how long its stages took, the client can only go by the arrival of its statuses.
    """

    number: int
    way_there: float
    way_back: float
    spans: tuple[Span, ...]
    gaps: tuple[float, ...]
    told: bool

    @property
    def question(self) -> str:
        """What the client asks: the server knows the plan by it."""
        return f"run {self.number}."


def plans(seed: int, count: int, longest_ms: float = 60.0) -> list[Plan]:
    """The same for the same `seed`. In some the prefill of what is known begins beside the stage before it."""
    rng = random.Random(seed)
    return [_plan(rng, number, longest_ms) for number in range(count)]


def _plan(rng: random.Random, number: int, longest_ms: float) -> Plan:
    spans: list[Span] = []
    told = rng.random() < 0.6
    at = 0.0
    for status in IN_ORDER:
        stage: Stage = STAGE_OF[status]
        duration = rng.uniform(2.0, longest_ms) if rng.random() < 0.7 else 0.0
        if not duration:
            continue
        begin = at
        if stage == "prefill" and spans and told and rng.random() < 0.5:
            begin = at - rng.uniform(0.0, min(spans[-1].duration, duration))
        spans.append(Span(stage, begin, duration))
        at = max(at, begin + duration)
    gaps = tuple(rng.uniform(1.0, 8.0) for _ in range(rng.randint(5, 40)))
    return Plan(number, rng.uniform(0.0, longest_ms / 2), rng.uniform(0.0, longest_ms / 2), tuple(spans), gaps, told)
