"""`llmchat explain`: one turn of the history, and why it was slow."""

from __future__ import annotations

import shutil
import sys

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from backends.errors import BackendError, Code
from backends.telemetry.causes import Finding
from backends.telemetry.explain import Explanation, duration, explain
from backends.telemetry.timeline import Timeline
from tui import log_file
from tui.commands.stats import open_history
from tui.exit_codes import ExitCode
from tui.history import turn_table
from tui.target import Target
from tui.widgets.turn_lines import drawn, heading
from tui.widgets.waterfall import QUIET


def run(target: Target, number: int | None, json: bool) -> ExitCode:
    """Explain the turn of that number, None: the newest. Raises BackendError where there is none."""
    log_file.start()
    file = target.load()
    with open_history(file) as history:
        found = history.read(lambda connection: turn_table.find(connection, number))
        if found is None:
            which = "there are no turns yet" if number is None else f"there is no turn {number}: see llmchat stats"
            raise BackendError(Code.CONFIG, which)
        turn, stored = found
        if stored is None:
            raise BackendError(Code.CONFIG, f"of turn {turn.id} only its numbers are left: it was deleted")
        before = history.read(lambda connection: turn_table.before(connection, turn.id))
    timeline = Timeline.load(stored)
    earlier = Timeline.load(before[1]) if before is not None and before[1] is not None else None
    budget = file.config.budget(turn.feature)
    explanation = explain(timeline, budget, earlier)
    if json:
        value = {"turn": turn, "explanation": explanation}
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")
        return ExitCode.COMPLETE
    width = min(100, shutil.get_terminal_size((100, 24)).columns)
    console = Console(highlight=False, width=width)
    console.print(heading(turn))
    console.print()
    for line in drawn(timeline, width, budget, note=False):
        console.print(line)
    console.print()
    _print(console, explanation)
    return ExitCode.COMPLETE


def _print(console: Console, explanation: Explanation) -> None:
    console.print(Text(explanation.verdict, "bold"))
    for number, finding in enumerate(explanation.findings, 1):
        console.print()
        console.print(_worded(number, finding))


def _worded(number: int, finding: Finding) -> Table:
    rows = Table.grid(padding=(0, 1))
    rows.add_row(f"  {number}.", Text(f"{duration(finding.ms)}: {finding.what}."))
    if finding.step:
        rows.add_row("   →", Text(finding.step), style=QUIET)
    return rows
