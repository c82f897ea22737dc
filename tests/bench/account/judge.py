"""Runs as a client sees them, and how far they are from what passed outside. All in milliseconds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import aclosing

import msgspec

from backends.backend import ChatRequest, Message
from backends.providers.native import Native
from backends.telemetry.spread import percentile
from backends.telemetry.stages import STAGES, Stage
from backends.telemetry.summary import account, total_account
from backends.telemetry.timeline import Timeline
from tests.bench.account.plan import Plan
from tests.bench.account.slow_server import Passed

CLOSE_MS, CLOSE_SHARE = 5.0, 0.01


class Judged(msgspec.Struct, frozen=True):
    """One run. `ttft`, `total`: the account's sum and what passed outside. `stages`: how far each is from what passed.

    `unattributed` is of the time to the first token.
    """

    ttft: tuple[float, float]
    total: tuple[float, float]
    unattributed: float
    stages: dict[Stage, float]


async def ask(url: str, plans: Sequence[Plan], at_a_time: int) -> dict[int, tuple[float, Timeline]]:
    """Ask every plan's question; for each the moment of Enter and the timeline."""
    asked: dict[int, tuple[float, Timeline]] = {}
    waiting = iter(plans)

    async def client() -> None:
        async with aclosing(Native(url)) as backend:
            for plan in waiting:
                asked[plan.number] = await _answered(backend, plan)

    async with asyncio.TaskGroup() as group:
        for _ in range(at_a_time):
            group.create_task(client())
    return asked


async def _answered(backend: Native, plan: Plan) -> tuple[float, Timeline]:
    timeline, entered = Timeline(), time.monotonic()
    async with aclosing(backend.stream(ChatRequest((Message("user", plan.question),)))) as events:
        async for event in events:
            timeline.add(event, 1000 * (time.monotonic() - entered))
    return entered, timeline


def judge(entered: float, timeline: Timeline, passed: Passed) -> Judged:
    """Hold `timeline`, read back from its stored form, against what `passed`. Raises ValueError for a broken run."""
    stored = Timeline.load(timeline.dump())
    whole = total_account(stored)
    if stored.outcome != "complete" or stored.first_token_ms is None or whole is None:
        raise ValueError(f"the run ended as {stored.outcome}: {stored.error}")
    spans = stored.spans(whole.total)
    to_first = account(spans, stored.first_token_ms)
    told: dict[Stage, float] = {}
    for span in spans:
        told[span.stage] = told.get(span.stage, 0.0) + span.duration
    really = passed.stages | {"network_in": passed.way_there + passed.way_back}
    return Judged(
        (_sum(to_first.parts) + to_first.unattributed, 1000 * (passed.first_token - entered)),
        (_sum(whole.parts) + whole.unattributed, 1000 * (passed.end - entered)),
        to_first.unattributed,
        {stage: told.get(stage, 0.0) - ms for stage, ms in really.items()},
    )


def _sum(parts: Iterable[tuple[Stage, float]]) -> float:
    return sum(ms for _, ms in parts)


def is_close(inside: float, outside: float) -> bool:
    """Within 1 % or 5 ms, whichever is more."""
    return abs(inside - outside) <= max(CLOSE_MS, CLOSE_SHARE * outside)


def table(judged: Sequence[Judged]) -> str:
    """How far the account and each stage are off, at the median, P99 and worst."""
    rows = [f"{'off by, ms':22}{'runs':>7}{'median':>9}{'P99':>9}{'worst':>9}"]
    errors: Mapping[str, list[float]] = {
        "TTFT": [abs(one.ttft[0] - one.ttft[1]) for one in judged],
        "total": [abs(one.total[0] - one.total[1]) for one in judged],
        **{stage: [abs(one.stages[stage]) for one in judged if stage in one.stages] for stage in STAGES},
        "(unattributed)": [one.unattributed for one in judged],
    }
    for name, values in errors.items():
        if values:
            figures = (percentile(values, 50), percentile(values, 99), max(values))
            rows.append(f"{name:22}{len(values):>7,}" + "".join(f"{value:>9.2f}" for value in figures))
    for name, pairs in (("TTFT", [one.ttft for one in judged]), ("total", [one.total for one in judged])):
        close = sum(is_close(*pair) for pair in pairs)
        rows.append(f"{name} within 1 % or 5 ms: {close:,} of {len(pairs):,}")
    return "\n".join(rows)
