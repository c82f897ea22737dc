"""One turn that has ended, as lines: what it was, its waterfall, and why it was slow. Pure."""

from __future__ import annotations

import time

from rich.text import Text

from backends.config import Budget
from backends.telemetry.explain import slow_first_token, slow_generation
from backends.telemetry.summary import account
from backends.telemetry.timeline import Timeline
from backends.telemetry.turns import TurnNumbers
from tui.widgets import waterfall
from tui.widgets.figures import short, shortened
from tui.widgets.plain import plain
from tui.widgets.waterfall import QUIET


def heading(turn: TurnNumbers) -> Text:
    """One line: its number, when, by whom, and its times."""
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(turn.started))
    line = Text(f"{turn.id:>6}  ", "bold")
    line.append(f"{when}  ", QUIET)
    backend = plain(turn.backend)
    line.append(f"{backend} {shortened(plain(turn.model), max(8, 35 - len(backend)))}".strip())
    if turn.ttft is not None:
        line.append("  TTFT ", QUIET).append(short(turn.ttft), "bold")
    if turn.total is not None:
        line.append("  total ", QUIET).append(short(turn.total))
    if turn.outcome != "complete":
        line.append(f"  {turn.outcome}", "#e0af68")
    return line


def drawn(timeline: Timeline, width: int, budget: Budget, *, note: bool = True) -> list[Text]:
    """The waterfall of a turn, and with `note` one line on why it was slow, where it was."""
    end = max(timeline.end_ms or timeline.last_token_ms or 1.0, 1.0)
    spans = timeline.spans(end)
    rows = [waterfall.stage_row(stage, own, end, width) for stage, own in waterfall.by_stage(spans)]
    first = timeline.first_token_ms if timeline.first_token_ms is not None else end
    unattributed = account(spans, first).unattributed
    if unattributed >= 0.5:
        rows.append(waterfall.gap_row(spans, first, unattributed, end, width))
    rows.append(waterfall.axis_row(end, timeline.first_token_ms, width))
    if note and (why := slow_first_token(timeline, budget.ttft_ms) or slow_generation(timeline)):
        rows.append(Text(why, "italic"))
    return rows
