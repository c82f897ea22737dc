"""The statistics as lines of text: what all turns come to, and a bar for every backend, model, feature or day. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from backends.config import Budget
from backends.telemetry.alerts import Alert
from backends.telemetry.spread import Spread
from backends.telemetry.statistics import DIMENSIONS, Dimension, Group, Statistics
from tui.widgets.figures import percent, short, shortened
from tui.widgets.plain import plain
from tui.widgets.waterfall import QUIET, TRACK

GOOD, BAD, BUSY = "#8fc45c", "#f0708a", "#7aa2f7"
LINE_FROM = 96
"""Columns from which there is room for the course over the days, and for all rates of a group."""

_BLOCKS = "▁▂▃▄▅▆▇█"


def overview_lines(found: Statistics, broken: Sequence[Alert], budget: Budget, width: int) -> list[Text]:
    """Percentiles of TTFT, TPOT and total, the rates, and what is alarming."""
    overall, days = found.overall, found.by.get("day", ())
    lines = [
        _percentiles("TTFT", overall.ttft, budget.ttft_ms, [_p50(day.ttft) for day in days], width),
        _percentiles("TPOT", overall.tpot, None, [_p50(day.tpot) for day in days], width),
        _percentiles("Total", overall.total, budget.total_ms, [_p50(day.total) for day in days], width),
        Text(),
        _rates(overall, width),
    ]
    if broken:
        lines += [Text(), *(Text.assemble(("▲ ", BAD), (str(alert), BAD)) for alert in broken)]
    return lines


def _p50(spread: Spread | None) -> float | None:
    return spread.p50 if spread else None


def _percentiles(
    name: str, spread: Spread | None, limit: float | None, course: Sequence[float | None], width: int
) -> Text:
    line = Text(name.ljust(7), "bold")
    if spread is None:
        return line.append("–", QUIET)
    for head, value in (("P50", spread.p50), ("P95", spread.p95), ("P99", spread.p99)):
        tone = "" if limit is None else GOOD if value <= limit else BAD
        line.append(f"{head} ", QUIET).append(f"{short(value):<9}", f"bold {tone}")
    about = f"budget {short(limit)}" if limit is not None else f"{1000 / spread.p50:,.0f} tok/s" if spread.p50 else ""
    line.append(about.ljust(16), QUIET)
    known = [value for value in course if value is not None]
    if width >= LINE_FROM and len(known) > 1:
        room = width - line.cell_len - 14
        line.append("P50 by day ", QUIET).append(sparkline(known[-room:]), BUSY)
    return line


def sparkline(values: Sequence[float]) -> str:
    """One character a value, from 0 to the highest."""
    top = max(values, default=0.0) or 1.0
    return "".join(_BLOCKS[min(7, int(8 * value / top))] for value in values)


def _rates(group: Group, width: int) -> Text:
    told = (
        ("in budget", percent(group.goodput)),
        ("errors", percent(group.error_rate)),
        ("cancelled", percent(group.cancel_rate)),
        ("cached", percent(group.cached_share)),
        ("drafts kept", percent(group.accepted_share)),
        ("cost", "–" if group.cost is None else f"${group.cost:,.2f}"),
    )
    line = Text()
    for name, value in told:
        part = Text.assemble((f"{name} ", QUIET), (value, "bold"))
        if value == "–" or line.cell_len + part.cell_len + 3 > width:
            continue
        line.append(" · " if line else "", TRACK).append_text(part)
    return line


def dimension_line(current: Dimension, width: int) -> Text:
    """The dimensions, with the `current` one marked."""
    line = Text()
    for dimension in DIMENSIONS:
        style = "bold reverse" if dimension == current else QUIET
        line.append(f" {dimension} ", style).append(" ")
    hint = "← → by what"
    return line.append(hint.rjust(max(1, width - line.cell_len)), QUIET)


def group_lines(found: Statistics, dimension: Dimension, budget: Budget, width: int, most: int) -> list[Text]:
    """One line a group: turns, TTFT as a bar (to P50, P95 and P99) and in numbers, speed and rates.

    No more than `most`: of the days the newest, else the largest groups.
    """
    groups = found.by[dimension]
    shown = groups[-most:] if dimension == "day" else groups[:most]
    wide = width >= LINE_FROM
    tail = "  tok/s errors cancel cached   good" if wide else "  tok/s errors   good"
    name_width = 20 if wide else 14
    cells = max(6, width - name_width - 27 - len(tail))
    head = f"{'':{name_width}}{'turns':>8}  {'TTFT'.ljust(cells)}{'P50':>8} {'P95':>8}{tail}"
    end = max((group.ttft.p99 for group in shown if group.ttft), default=1.0) or 1.0
    rows = [_group_line(group, budget, name_width, cells, end, wide=wide) for group in shown]
    return [Text(head, QUIET), *rows]


def _group_line(group: Group, budget: Budget, name_width: int, cells: int, end: float, *, wide: bool) -> Text:
    line = Text(shortened(plain(group.name), name_width - 1).ljust(name_width))
    line.append(f"{group.turns:>8,}  ", QUIET)
    if group.ttft is None:
        line.append("–".ljust(cells) + " " * 17, QUIET)
    else:
        tone = GOOD if group.ttft.p50 <= budget.ttft_ms else BAD
        p50, p95, p99 = (
            max(1, round((cells - 1) * ms / end)) for ms in (group.ttft.p50, group.ttft.p95, group.ttft.p99)
        )
        line.append("━" * p50, tone).append("─" * (p95 - p50), tone).append("·" * (p99 - p95), QUIET)
        line.append(" " * (cells - p99)).append(f"{short(group.ttft.p50):>8}", "bold")
        line.append(f" {short(group.ttft.p95):>8}")
    speed = f"{1000 / group.tpot.p50:,.0f}" if group.tpot and group.tpot.p50 else "–"
    shares = [percent(group.error_rate), percent(group.goodput)]
    if wide:
        shares = [shares[0], percent(group.cancel_rate), percent(group.cached_share), shares[1]]
    return line.append(f"{speed:>7}").append("".join(f"{share:>7}" for share in shares), QUIET)
