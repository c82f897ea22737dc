"""Loads as text and as CSV. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from backends.bench.summary import LoadSummary
from backends.bench.sweep import Measured
from backends.telemetry.spread import Spread

METRICS = (("TTFT", "ttft"), ("TPOT", "tpot"), ("ITL", "itl"), ("total", "total"))
"""What is timed: its name, and the field of `LoadSummary`."""

_FIGURES = (("mean", "mean"), ("P50", "p50"), ("P90", "p90"), ("P95", "p95"), ("P99", "p99"), ("max", "highest"))
_HEAD = "".join(f"{name:>10}" for name, _ in _FIGURES) + "   ms"
_WIDTH = 8


def report(measured: Sequence[Measured]) -> str:
    """One load at length; several as tables over the load. How times were taken is said below."""
    one = len(measured) == 1
    parts = [f"{measured[0].level}\n\n{table(measured[0].summary)}" if one else _over_load(measured)]
    if measured[0].level.loop == "second":
        parts.append("Times count from when a request was due, whether or not it could be sent then.")
    else:
        parts.append("A client asks again when it was answered: what a stall would cost others, only --rate shows.")
    return "\n\n".join(parts)


def table(summary: LoadSummary) -> str:
    """One load."""
    rows = [" " * _WIDTH + _HEAD]
    rows += [
        f"{name:{_WIDTH}}{_figures(found)}" for name, field in METRICS if (found := getattr(summary, field)) is not None
    ]
    rows += [
        "",
        f"{summary.answered} of {summary.requests} requests answered in {summary.seconds:.1f} s: "
        f"{summary.requests_per_second:.2f} requests/s, {summary.tokens_per_second:,.1f} tokens/s",
        f"{summary.prompt_tokens:,} prompt tokens ({summary.cached_tokens:,} cached), {summary.output_tokens:,} made",
        f"goodput: {summary.goodput_share:.1%} within budget, {summary.goodput:.2f} requests/s",
    ]
    if summary.latest_ms >= 1:
        rows.append(f"sent up to {summary.latest_ms:.1f} ms late, which the times above include")
    rows += [f"failed {count} times: {error}" for error, count in summary.errors.items()]
    return "\n".join(rows)


def _over_load(measured: Sequence[Measured]) -> str:
    head = "clients" if measured[0].level.loop == "clients" else "req/s"
    names = [f"{one.level.value:<{_WIDTH}g}" for one in measured]
    rows = [f"{head:{_WIDTH}}" + "".join(f"{name:>11}" for name in _RATES)]
    rows += [name + _rates(one.summary) for name, one in zip(names, measured, strict=True)]
    for metric, field in METRICS:
        rows += ["", f"{metric:{_WIDTH}}{_HEAD}"]
        spreads: list[Spread | None] = [getattr(one.summary, field) for one in measured]
        rows += [name + _figures(spread) for name, spread in zip(names, spreads, strict=True) if spread is not None]
    for one in measured:
        rows += [f"\n{one.level}: failed {count} times: {error}" for error, count in one.summary.errors.items()]
    return "\n".join(rows)


_RATES = ("answered", "failed", "answers/s", "tokens/s", "cached", "good", "good/s")


def _rates(it: LoadSummary) -> str:
    cached = it.cached_tokens / it.prompt_tokens if it.prompt_tokens else 0.0
    return (
        f"{it.answered:>11,}{it.requests - it.answered:>11,}{it.requests_per_second:>11,.2f}"
        f"{it.tokens_per_second:>11,.1f}{cached:>11.1%}{it.goodput_share:>11.1%}{it.goodput:>11,.2f}"
    )


def _figures(found: Spread) -> str:
    return "".join(f"{getattr(found, field):>10,.1f}" for _, field in _FIGURES)


def as_csv(measured: Sequence[Measured]) -> str:
    """One line a load; times in milliseconds, shares from 0 to 1, nothing where nothing was answered."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    plain = (
        *("requests", "answered", "seconds", "requests_per_second", "tokens_per_second", "goodput_share", "goodput"),
        *("output_tokens", "prompt_tokens", "cached_tokens", "latest_ms"),
    )
    figures = [f"{field}_{name.lower()}_ms" for _, field in METRICS for name, _ in _FIGURES]
    writer.writerow(["loop", "load", *plain, *figures])
    for one in measured:
        row: list[object] = [one.level.loop, f"{one.level.value:g}"]
        row += [_plain(getattr(one.summary, field)) for field in plain]
        for _, metric in METRICS:
            found = getattr(one.summary, metric)
            row += ["" if found is None else _plain(getattr(found, field)) for _, field in _FIGURES]
        writer.writerow(row)
    return out.getvalue()


def _plain(value: float) -> float:
    return round(value, 4)
