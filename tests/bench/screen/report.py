"""The results as one table of medians, with our ratios to the others."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tests.bench.screen.clients import LLM, MINIMAL, OURS, PLAIN_KEYBOARD
from tests.bench.screen.plan import Cell, Row


class Figure(NamedTuple):
    """One line of the table: `key` of the results of `what`, shown with `digits` decimals.

    Words in parentheses are about the run and not about a client.
    """

    what: str
    key: str
    words: str
    digits: int = 0


FIGURES = (
    Figure("start", "seconds", "cold start to a prompt, s", 2),
    Figure("stream", "lag_p50_ms", "marker lag p50, ms"),
    Figure("stream", "lag_p95_ms", "marker lag p95, ms"),
    Figure("stream", "lag_max_ms", "marker lag max, ms"),
    Figure("stream", "end_lag_ms", "last token to the eye, ms"),
    Figure("stream", "markers_lost", "markers lost"),
    Figure("stream", "cpu_seconds_per_1000", "CPU s per 1,000 tokens", 2),
    Figure("stream", "kilobytes_per_1000", "kB to the terminal per 1,000 tokens"),
    Figure("stream", "peak_megabytes", "peak memory, MB"),
    Figure("stream", "key_cpu_ms", "CPU ms per key typed before", 1),
    Figure("stream", "server_slip_ms", "(the server's own delay, ms)"),
    Figure("stream", "load", "(load of the machine)", 1),
    Figure("enter", "p50_ms", "Enter to request p50, ms", 1),
    Figure("enter", "p95_ms", "Enter to request p95, ms", 1),
    Figure("echo", "p50_ms", "key echo p50 at 2,000 tokens/s, ms"),
    Figure("echo", "p95_ms", "key echo p95, ms"),
    Figure("idle", "cpu_percent", "CPU while idle, % of a core", 2),
    Figure("cancel", "first_ms", "first token to the eye p95, ms"),
    Figure("cancel", "p50_ms", "Esc to the server p50 at 2,000 tokens/s, ms"),
    Figure("cancel", "p95_ms", "Esc to the server p95, ms"),
)


def table(rows: Sequence[Row]) -> str:
    """Markdown: a line per figure and cell, a column per client, then our ratios to the baselines."""
    names = list(dict.fromkeys(row.client for row in rows))
    ours = [name for name in names if name.startswith(OURS) and not name.endswith(PLAIN_KEYBOARD)]
    ratios = [(mine, other) for other in (MINIMAL, LLM) if other in names for mine in ours]
    heads = ["", *names, *(f"{mine.removeprefix(OURS)} / {other}" for mine, other in ratios)]
    lines = ["| " + " | ".join(heads) + " |", "|---" + "|---:" * (len(heads) - 1) + "|"]
    for figure, cell in _lines(rows):
        medians = {name: _median(rows, figure, cell, name) for name in names}
        cells = [_shown(medians[name], figure.digits) for name in names]
        for mine, other in ratios:
            cells.append("" if figure.words.startswith("(") else _ratio(medians[mine], medians[other]))
        words = figure.words + (f"; {cell.words}" if cell else "")
        lines.append("| " + " | ".join([words, *cells]) + " |")
    return "\n".join(lines)


def _lines(rows: Sequence[Row]) -> Iterator[tuple[Figure, Cell | None]]:
    for figure in FIGURES:
        for cell in dict.fromkeys(row.cell for row in rows if row.what == figure.what):
            yield figure, cell


def _median(rows: Sequence[Row], figure: Figure, cell: Cell | None, client: str) -> float | None:
    mine = [row.result for row in rows if (row.what, row.cell, row.client) == (figure.what, cell, client)]
    values = [value for result in mine if (value := result.get(figure.key)) is not None]
    return statistics.median(values) if values else None


def _shown(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def _ratio(ours: float | None, other: float | None) -> str:
    return f"{ours / other:.2f}" if ours is not None and other else ""
