"""`llmchat stats`: what all turns so far took, read from the history."""

from __future__ import annotations

import contextlib
import re
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec
from rich.console import Console

from backends.config import ConfigFile
from backends.errors import BackendError, Code, ConfigError
from backends.telemetry.alerts import ENOUGH_TURNS, alerts
from backends.telemetry.statistics import DIMENSIONS, Dimension, Statistics, merged, statistics
from backends.telemetry.timeline import Timeline
from tui import log_file
from tui.commands.stats_table import as_csv, as_json, tables
from tui.exit_codes import ExitCode
from tui.history import turn_table
from tui.history.history import History, path_of
from tui.history.turn_table import StoredTurn
from tui.target import Target
from tui.widgets.turn_lines import drawn, heading

_UNITS = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}


class StatsRequest(msgspec.Struct, frozen=True):
    """The options of `llmchat stats`, as given."""

    last: str = ""
    model: str = ""
    feature: str = ""
    by: Sequence[str] = ()
    slowest: int = 3
    json: bool = False
    csv: bool = False
    plot: bool = False
    check: bool = False


def run(target: Target, asked: StatsRequest) -> ExitCode:
    """Print the statistics; with `check` FAILED where a threshold is broken. Raises BackendError for wrong usage."""
    log_file.start()
    file = msgspec.structs.replace(target, backend=None).load()
    dimensions = _dimensions(asked.by)
    with open_history(file) as history:
        since = time.time() - window(asked.last) if asked.last else 0.0
        only = {"backend": target.backend or "", "model": asked.model, "feature": asked.feature}
        only = {column: value for column, value in only.items() if value}
        cells = history.read(lambda connection: turn_table.cells(connection, file.config.budget, since, only))
        found = statistics(cells, dimensions)
        slow = history.read(lambda connection: turn_table.slowest(connection, asked.slowest, since, only))
        broken = alerts(found.overall)
        if asked.json:
            sys.stdout.buffer.write(as_json(found, [turn for turn, _ in slow], broken) + b"\n")
        elif asked.csv:
            sys.stdout.write(as_csv(found))
        elif not cells:
            print("no turns yet: every answer in the chat is counted, and those of llmchat ask")
        else:
            _print(file, found, slow, merged(cells, "ttft") if asked.plot else ())
    if not asked.check:
        return ExitCode.COMPLETE
    for alert in broken:
        print(f"llmchat: {alert}", file=sys.stderr)
    if found.overall.turns < ENOUGH_TURNS:
        print(f"llmchat: {found.overall.turns} turns are too few to judge ({ENOUGH_TURNS})", file=sys.stderr)
    return ExitCode.FAILED if broken else ExitCode.COMPLETE


@contextmanager
def open_history(file: ConfigFile) -> Iterator[History]:
    """The history that the configuration names. Raises BackendError where there is none or it cannot be read."""
    path = path_of(file)
    history = History(path if path.exists() else None)
    with contextlib.closing(history):
        if history.notice:
            raise BackendError(Code.CONFIG, history.notice)
        yield history


def window(text: str) -> float:
    """Seconds in ``30m``, ``24h``, ``7d``, ``2w``. Raises ConfigError."""
    if (found := re.fullmatch(r"(\d+)([mhdw])", text)) is None:
        raise ConfigError(f"--last {text}: a number and m, h, d or w, as in 24h or 7d")
    return int(found[1]) * _UNITS[found[2]]


def _dimensions(names: Sequence[str]) -> tuple[Dimension, ...]:
    for name in names:
        if name not in DIMENSIONS:
            raise ConfigError(f"--by {name}: one of {', '.join(DIMENSIONS)}")
    return tuple(dimension for dimension in DIMENSIONS if dimension in names) if names else DIMENSIONS


def _print(file: ConfigFile, found: Statistics, slow: Sequence[StoredTurn], ttfts: Sequence[float]) -> None:
    """`ttfts`: what is plotted; nothing is without them."""
    console = Console(highlight=False, soft_wrap=True)
    width = shutil.get_terminal_size((200, 24)).columns if sys.stdout.isatty() else 200
    console.print(tables(found, width), markup=False)
    if ttfts:
        from tui.commands.stats_plots import plots

        console.print("\n" + plots(found, ttfts, min(width, 110)), markup=False)
    if slow:
        console.print("\nSlowest to the first token (llmchat explain NUMBER says why)", markup=False)
    for turn, timeline in slow:
        console.print()
        console.print(heading(turn))
        if timeline is not None:
            budget = file.config.budget(turn.feature)
            for line in drawn(Timeline.load(timeline), min(width, 100) - 8, budget):
                console.print("        ", line, sep="")
    for alert in alerts(found.overall):
        console.print(f"\nalert: {alert}", style="#f0708a", markup=False, end="")
    console.print()
