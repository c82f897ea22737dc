"""Statistics as text: one table a dimension, for a terminal or a file; the same as CSV and JSON. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

import msgspec

from backends.telemetry.alerts import Alert
from backends.telemetry.spread import Spread
from backends.telemetry.statistics import Group, Statistics
from backends.telemetry.turns import TurnNumbers
from tui.widgets.figures import UNKNOWN, percent, short, shortened

WIDE_FROM = 122
"""Columns from which latencies and rates stand in one table."""

NAME_WIDTH = 16
MOST_GROUPS = 14
"""Lines of one table; of the days the newest are shown, else the largest groups."""


def tables(found: Statistics, width: int) -> str:
    """All groups of all dimensions, and what they come to together, in `width` columns."""
    return "\n\n".join(
        [
            _table("", [found.overall], width),
            *(_table(dimension, _most(dimension, groups), width) for dimension, groups in found.by.items() if groups),
        ]
    )


def _most(dimension: str, groups: Sequence[Group]) -> Sequence[Group]:
    return groups[-MOST_GROUPS:] if dimension == "day" else groups[:MOST_GROUPS]


def _table(title: str, groups: Sequence[Group], width: int) -> str:
    names = [title, *(shortened(group.name, NAME_WIDTH) for group in groups)]
    turns = ["turns", *(f"{group.turns:,}" for group in groups)]
    ttft, tpot, total = (_percentiles(name, groups) for name in ("TTFT", "TPOT", "total"))
    if width >= WIDE_FROM:
        return _lines(names, [turns, *ttft, *tpot, *total, _speed(groups), *_rates(groups), _cost(groups)])
    return _lines(names, [turns, *ttft, *total]) + "\n\n" + _lines(["", *names[1:]], [*tpot, *_rates(groups)])


def _lines(names: Sequence[str], columns: Sequence[Sequence[str]]) -> str:
    """The columns that know anything, to the right of the names."""
    columns = [column for column in columns if set(column[1:]) != {UNKNOWN}]
    widths = [max(len(cell) for cell in column) for column in columns]
    lines = []
    for row, name in enumerate(names):
        cells = (column[row].rjust(width) for column, width in zip(columns, widths, strict=True))
        lines.append(f"{name:{NAME_WIDTH}}  {'  '.join(cells)}".rstrip())
    return "\n".join(lines)


def _percentiles(name: str, groups: Sequence[Group]) -> list[list[str]]:
    spreads: list[Spread | None] = [getattr(group, name.lower()) for group in groups]
    return [
        [head, *(UNKNOWN if spread is None else short(getattr(spread, field)) for spread in spreads)]
        for head, field in ((f"{name} P50", "p50"), ("P95", "p95"), ("P99", "p99"))
    ]


def _speed(groups: Sequence[Group]) -> list[str]:
    return ["tok/s", *(f"{1000 / g.tpot.p50:,.0f}" if g.tpot and g.tpot.p50 else UNKNOWN for g in groups)]


def _rates(groups: Sequence[Group]) -> list[list[str]]:
    heads = {
        "errors": "error_rate",
        "cancels": "cancel_rate",
        "cached": "cached_share",
        "drafts": "accepted_share",
        "good": "goodput",
    }
    return [[head, *(percent(getattr(group, field)) for group in groups)] for head, field in heads.items()]


def _cost(groups: Sequence[Group]) -> list[str]:
    return ["cost", *(UNKNOWN if group.cost is None else f"${group.cost:,.4f}" for group in groups)]


def as_csv(found: Statistics) -> str:
    """One line a group; times in milliseconds, shares from 0 to 1, nothing where it is not known."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    spreads = [f"{name}_{at}_ms" for name in ("ttft", "tpot", "total") for at in ("p50", "p95", "p99")]
    rates = ("tokens", "error_rate", "cancel_rate", "cached_share", "accepted_share", "goodput", "cost_usd")
    writer.writerow(("dimension", "name", "turns", *spreads, *rates))
    groups = [("all", found.overall), *((name, group) for name, some in found.by.items() for group in some)]
    for dimension, group in groups:
        row: list[Any] = [dimension, group.name, group.turns]
        for spread in (group.ttft, group.tpot, group.total):
            row += ["", "", ""] if spread is None else [round(ms, 3) for ms in (spread.p50, spread.p95, spread.p99)]
        row += [group.tokens, round(group.error_rate, 6), round(group.cancel_rate, 6)]
        row += ["" if v is None else round(v, 6) for v in (group.cached_share, group.accepted_share, group.goodput)]
        writer.writerow([*row, "" if group.cost is None else group.cost])
    return out.getvalue()


def as_json(found: Statistics, slow: Sequence[TurnNumbers], broken: Sequence[Alert]) -> bytes:
    """Everything as one JSON object: `overall`, `by`, `slowest`, `alerts`."""
    worded = [{"text": str(alert), **msgspec.to_builtins(alert)} for alert in broken]
    value = {"overall": found.overall, "by": found.by, "slowest": slow, "alerts": worded}
    return msgspec.json.format(msgspec.json.encode(value), indent=2)
