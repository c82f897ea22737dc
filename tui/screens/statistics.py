"""What all turns took: percentiles, rates, alerts, a bar for each backend, model, feature or day, the slowest."""

from __future__ import annotations

import asyncio
import time
from typing import ClassVar, Literal

from rich.console import Group as Lines
from rich.text import Text
from textual import events, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from backends.config import Config
from backends.telemetry.alerts import alerts
from backends.telemetry.statistics import DIMENSIONS, Dimension, Statistics, statistics
from backends.telemetry.timeline import Timeline
from tui.history import turn_table
from tui.history.history import History
from tui.history.turn_table import StoredTurn
from tui.widgets.statistics_lines import dimension_line, group_lines, overview_lines
from tui.widgets.turn_lines import drawn, heading
from tui.widgets.waterfall import QUIET

SLOWEST = 20
WINDOWS: tuple[tuple[str, float], ...] = (
    ("all time", 0.0),
    ("the last 30 days", 30 * 86_400),
    ("the last 7 days", 7 * 86_400),
    ("the last 24 hours", 86_400),
)
"""What is looked at, and how many seconds that is; 0: everything."""


class StatisticsScreen(ModalScreen[None]):
    """Opens with F9. Left and right choose the dimension, up and down a slow turn, w the window of time."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,f9,q", "dismiss", "Close", show=False),
        Binding("left", "dimension(-1)", show=False, priority=True),
        Binding("right", "dimension(1)", show=False, priority=True),
        Binding("w", "window", show=False),
    ]

    def __init__(self, history: History, config: Config) -> None:
        super().__init__()
        self._history = history
        self._config = config
        self._budget = config.budget("chat")
        self._dimension: Dimension = "backend"
        self._window = 0
        self._found: Statistics | None = None
        self._slow: list[StoredTurn] = []
        self._chosen = False  # a turn was chosen by hand: its waterfall is what is looked at

    def compose(self) -> ComposeResult:
        """Textual's hook."""
        with VerticalScroll(id="statistics") as sheet:
            sheet.border_title = "Statistics"
            yield Static(Text("reading the history", QUIET), id="overview")
            yield Static(id="groups")
            yield Static(Text("Slowest to the first token", "bold"), id="slow-title")
            yield OptionList(id="slow")
            yield Static(id="turn")

    def on_mount(self) -> None:
        """Textual's hook."""
        self.query_one(VerticalScroll).can_focus = False
        self.query_one(OptionList).focus()
        self._read()

    def on_resize(self, event: events.Resize) -> None:
        """Textual's hook."""
        self._show()

    def action_dimension(self, step: Literal[-1, 1]) -> None:
        """Left and right."""
        self._dimension = DIMENSIONS[(DIMENSIONS.index(self._dimension) + step) % len(DIMENSIONS)]
        self._show()

    def action_window(self) -> None:
        """w: another window of time."""
        self._window = (self._window + 1) % len(WINDOWS)
        self._read()

    @work(group="statistics", exclusive=True)
    async def _read(self) -> None:
        """In a thread: 100,000 turns take a fifth of a second."""
        seconds = WINDOWS[self._window][1]
        since = time.time() - seconds if seconds else 0.0

        def read() -> tuple[Statistics, list[StoredTurn]]:
            cells = self._history.read(lambda connection: turn_table.cells(connection, self._config.budget, since))
            slow = self._history.read(lambda connection: turn_table.slowest(connection, SLOWEST, since))
            return statistics(cells), slow

        self._chosen = False
        self._found, self._slow = await asyncio.to_thread(read)
        slow = self.query_one(OptionList)
        slow.clear_options()
        slow.add_options([Option(heading(turn)) for turn, _ in self._slow])
        slow.highlighted = 0 if self._slow else None
        self._show()

    def _show(self) -> None:
        found = self._found
        if found is None:
            return
        sheet, width = self.query_one("#statistics"), self._width
        name = WINDOWS[self._window][0]
        sheet.border_title = f"Statistics · {found.overall.turns:,} turns, {name}"
        sheet.border_subtitle = "← → by what · ↑ ↓ slow turns · w window · Esc closes"
        for part in ("#groups", "#slow-title", "#slow", "#turn"):
            self.query_one(part).display = bool(found.overall.turns)
        overview = self.query_one("#overview", Static)
        if not found.overall.turns:
            overview.update(Text("No turns yet: ask something, and come back.", QUIET))
            return
        broken = alerts(found.overall)
        overview.update(Lines(*overview_lines(found, broken, self._budget, width)))
        most = 4 if self.app.size.height < 32 else 8 if self.app.size.height < 48 else 16
        rows = group_lines(found, self._dimension, self._budget, width, most)
        self.query_one("#groups", Static).update(Lines(dimension_line(self._dimension, width), Text(), *rows))
        self._show_turn(self.query_one(OptionList).highlighted)

    @property
    def _width(self) -> int:
        return max(40, self.query_one("#statistics").content_size.width - 1)

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        """Textual's hook."""
        self._show_turn(event.option_index)
        if self._chosen:
            self.query_one("#turn").scroll_visible(animate=False)
        self._chosen = True

    def _show_turn(self, at: int | None) -> None:
        turn = self.query_one("#turn", Static)
        if at is None or at >= len(self._slow) or (stored := self._slow[at][1]) is None:
            turn.update("")
            return
        numbers = self._slow[at][0]
        turn.update(Lines(*drawn(Timeline.load(stored), self._width, self._config.budget(numbers.feature))))
