"""A load in numbers: latencies at their percentiles, throughput, goodput, errors. Pure."""

from __future__ import annotations

from collections import Counter

import msgspec

from backends.bench.load import Result, Run
from backends.bench.statistics import goodput
from backends.config import Budget
from backends.telemetry.spread import Spread, spread


class LoadSummary(msgspec.Struct, frozen=True):
    """Times in milliseconds, of answered requests only. `itl`: gaps between chunks. Rates are per second of the run.

    `goodput_share`, `goodput`: requests that met the budget, of all, and a second.
    """

    requests: int
    answered: int
    seconds: float
    ttft: Spread | None
    tpot: Spread | None
    itl: Spread | None
    total: Spread | None
    output_tokens: int
    prompt_tokens: int
    cached_tokens: int
    requests_per_second: float
    tokens_per_second: float
    goodput_share: float
    goodput: float
    latest_ms: float
    errors: dict[str, int]


def summarize(run: Run, budget: Budget) -> LoadSummary:
    """The numbers of `run`."""
    good = [result for result in run.results if result.good]
    share, rate = goodput([result.meets(budget) for result in run.results], run.seconds)
    tokens = sum(result.tokens for result in good)
    return LoadSummary(
        requests=len(run.results),
        answered=len(good),
        seconds=run.seconds,
        ttft=spread(_known(good, "ttft")),
        tpot=spread(_known(good, "tpot")),
        itl=spread([gap for result in good for gap in result.gaps]),
        total=spread(_known(good, "total")),
        output_tokens=tokens,
        prompt_tokens=sum(result.prompt_tokens or 0 for result in good),
        cached_tokens=sum(result.cached_tokens or 0 for result in good),
        requests_per_second=len(good) / run.seconds if run.seconds else 0.0,
        tokens_per_second=tokens / run.seconds if run.seconds else 0.0,
        goodput_share=share,
        goodput=rate,
        latest_ms=max((result.late_ms for result in run.results), default=0.0),
        errors=dict(Counter(result.error or result.outcome for result in run.results if not result.good)),
    )


def _known(results: list[Result], field: str) -> list[float]:
    return [value for result in results if (value := getattr(result, field)) is not None]
