"""Stages drawn as bars on one time axis. Pure functions from spans to rows of text."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from rich.text import Text

from backends.telemetry.explain import duration
from backends.telemetry.stages import STAGES, Span, Stage
from tui.widgets.wording import STAGE_LABELS

NETWORK, SEARCH, MODEL, FLOW = "#7aa2f7", "#2dc7b4", "#b18cf2", "#8fc45c"
QUIET = "#7f8696"
TRACK = "#5a6173"

STAGE_COLOURS: dict[Stage, str] = {
    "retry": "#f0708a",
    "connect": NETWORK,
    "dns": NETWORK,
    "tcp": NETWORK,
    "tls": NETWORK,
    "network_in": NETWORK,
    "server_wait": "#9aa5ce",
    "first_byte": "#9aa5ce",
    "auth": NETWORK,
    "retrieval": SEARCH,
    "reranking": "#35aac8",
    "context_assembly": "#6ccf9c",
    "model_load": "#d9925f",
    "provider_queue": "#e0af68",
    "prefill": MODEL,
    "decode_first_token": "#ec7fa9",
    "total_generation": FLOW,
    "network_out": NETWORK,
    "render": QUIET,
}
"""Stages of a kind have related colours; mid-tones that hold on a dark and on a light background."""

SIGNS = {"°": "server", "~": "derived"}
"""Before a time that the server told, or that follows from others; what nobody measured or told is `unattributed`."""

LABEL_WIDTH = 13
VALUE_WIDTH = 8
AFTER_FIRST_TOKEN: tuple[Stage, ...] = ("total_generation", "network_out", "render")

MOVES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
"""What turns beside the stage that goes on."""
_MOVES_EVERY = 200.0
"""Milliseconds: the panel is not drawn more often."""

_HALVES = {(False, False): " ", (True, False): "▌", (False, True): "▐", (True, True): "█"}
_LIGHT = str.maketrans("▌█▐", "░░░")


def axis_end(now: float, at_least: float) -> float:
    """The end of the axis while a turn runs: a round number of ms above `now`, so that bars grow instead of shrink."""
    target = max(now, at_least, 1.0)
    step = 1.0
    for factor in itertools.cycle((1.5, 2 / 1.5, 1.5, 5 / 3, 1.5, 10 / 7.5)):  # 1, 1.5, 2, 3, 5, 7.5, 10, ...
        if step >= target:
            return step
        step *= factor
    raise AssertionError("unreachable")


def bar(spans: Iterable[tuple[float, float]], end: float, cells: int) -> str:
    """`cells` characters: heavy line where a (from, to) interval lies on an axis of `end` ms, to half a cell.

    An interval is at least half a cell long, so that nothing that took place is invisible.
    """
    halves = [False] * (2 * cells)
    for start, stop in spans:
        first = min(int(2 * cells * start / end), 2 * cells - 1)
        last = max(first + 1, min(round(2 * cells * stop / end), 2 * cells))
        for half in range(max(0, first), last):
            halves[half] = True
    return "".join(_HALVES[pair] for pair in zip(halves[::2], halves[1::2], strict=True))


def gaps(spans: Iterable[Span], until: float) -> list[tuple[float, float]]:
    """The intervals from 0 to `until` that no stage covers: what is unattributed."""
    found: list[tuple[float, float]] = []
    reached = 0.0
    for span in sorted(spans, key=lambda span: span.offset):
        if span.stage in AFTER_FIRST_TOKEN or span.offset >= until:
            continue
        if span.offset > reached:
            found.append((reached, span.offset))
        reached = max(reached, span.end)
    if reached < until:
        found.append((reached, until))
    return found


def by_stage(spans: Iterable[Span]) -> list[tuple[Stage, list[Span]]]:
    """The spans of each stage: those before the first token as they began, then those after it.

    Where client and server measured the same border, their clocks may differ by a moment: the order does not.
    """

    def place(span: Span) -> tuple[bool, float, int]:
        return span.stage in AFTER_FIRST_TOKEN, span.offset, STAGES.index(span.stage)

    grouped: dict[Stage, list[Span]] = {}
    for span in sorted(spans, key=place):
        grouped.setdefault(span.stage, []).append(span)
    return list(grouped.items())


def stage_row(stage: Stage, spans: list[Span], end: float, width: int, *, current: float | None = None) -> Text:
    """One stage: its name, its bar, its time, and before that a sign of who says so (`legend_row`).

    `current`: milliseconds from Enter, for the stage that goes on now.
    """
    cells = max(4, width - LABEL_WIDTH - VALUE_WIDTH)
    value = _sign(spans) + _time(sum(span.duration for span in spans))
    row = Text(STAGE_LABELS[stage], style="" if current is None else "bold")
    if current is not None:
        row.append(" " if len(row) < LABEL_WIDTH - 1 else "")
        row.append(MOVES[int(current / _MOVES_EVERY) % len(MOVES)], STAGE_COLOURS[stage])
    row.pad_right(LABEL_WIDTH - len(row))
    row.append(bar(((span.offset, span.end) for span in spans), end, cells), STAGE_COLOURS[stage])
    row.append(value.rjust(VALUE_WIDTH), "" if current is None else "bold")
    return row


def legend_row(spans: Iterable[Span]) -> Text | None:
    """What the signs before the times mean; None where all was measured here."""
    signs = {_sign([span]) for span in spans}
    words = [f"{sign} {meaning}" for sign, meaning in SIGNS.items() if sign in signs]
    return Text(" " * LABEL_WIDTH + "  ".join(words), QUIET) if words else None


def _time(ms: float) -> str:
    """A time with room for a sign before it in the column of times: ``1.6 s``, ``725 s``, ``28 h``."""
    if len(words := duration(ms)) < VALUE_WIDTH:
        return words
    return f"{ms / 1_000:.0f} s" if ms < 99_999_500 else f"{ms / 3_600_000:.0f} h"


def _sign(spans: list[Span]) -> str:
    by = {span.by for span in spans}
    return "~" if "derived" in by else "°" if "server" in by else ""


def gap_row(spans: Iterable[Span], until: float, unattributed: float, end: float, width: int) -> Text:
    """What no stage accounts for, drawn where it lies."""
    cells = max(4, width - LABEL_WIDTH - VALUE_WIDTH)
    row = Text("unattributed".ljust(LABEL_WIDTH), style=QUIET)
    row.append(bar(gaps(spans, until), end, cells).translate(_LIGHT), QUIET)
    row.append(_time(unattributed).rjust(VALUE_WIDTH), QUIET)
    return row


def axis_row(end: float, ttft: float | None, width: int) -> Text:
    """The axis under the bars: where the first token came, and the axis' end."""
    cells = max(4, width - LABEL_WIDTH - VALUE_WIDTH)
    line = ["─"] * cells
    line[0] = "╶"
    if ttft is not None and ttft < end:
        line[min(cells - 1, int(cells * ttft / end))] = "┴"
    row = Text(" " * LABEL_WIDTH)
    row.append("".join(line), TRACK)
    row.append(_time(end).rjust(VALUE_WIDTH), QUIET)
    return row


def stacked(spans: list[Span], end: float, axis: float, cells: int) -> Text:
    """The whole turn as one line of coloured segments with their names in them, where these fit.

    Where stages overlap, the one that ends last is shown: it was the one waited for. Gaps are left dark.
    """
    row = Text()
    for stage, run in itertools.groupby(_owner(spans, end, axis * (cell + 0.5) / cells) for cell in range(cells)):
        length = len(list(run))
        if stage is None:
            row.append("·" * length, TRACK)
            continue
        label = STAGE_LABELS[stage]
        shown = label if len(label) + 2 <= length else ""
        row.append(f" {shown}".ljust(length)[:length], f"#15161e on {STAGE_COLOURS[stage]}")
    return row


def _owner(spans: list[Span], end: float, moment: float) -> Stage | None:
    active = [span for span in spans if span.offset <= moment < min(span.end, end)]
    return max(active, key=lambda span: span.end).stage if active else None
