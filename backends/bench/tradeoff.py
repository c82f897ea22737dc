"""What `objective` trades, drawn: smooth answers against quick prompts. Pure."""

from __future__ import annotations

from backends.bench.record import Record
from backends.bench.statistics import median
from backends.bench.suite import OBJECTIVES, TRADE_OFF

_COLUMNS = 20


def trade_off(record: Record, model: str) -> list[str]:
    """The drawing as Markdown, if it was measured: for each choice the gaps of running answers and prompts' TTFT."""
    samples = {
        name: [record.values(model, TRADE_OFF, name, key) for key in ("gap ms", "ttft ms")] for name in OBJECTIVES
    }
    points = {name: (median(gaps), median(ttfts)) for name, (gaps, ttfts) in samples.items() if gaps and ttfts}
    if not points:
        return []
    widest = [max(point[axis] for point in points.values()) for axis in (0, 1)]
    rows = [
        f"    {name:<14} gap {_bar(gap, widest[0])} {gap:>7,.0f} ms   TTFT {_bar(ttft, widest[1])} {ttft:>7,.0f} ms"
        for name, (gap, ttft) in points.items()
    ]
    return ["\n".join(["`objective` and `max_gap_ms`, 6 prompts beside 4 answers:", "", *rows])]


def _bar(value: float, widest: float) -> str:
    return f"{'#' * round(_COLUMNS * value / widest):<{_COLUMNS}}"
