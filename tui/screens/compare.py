"""One question to several backends at once: their answers side by side, and who was first."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import ClassVar

import msgspec
from rich.text import Text
from textual import events, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.screen import Screen
from textual.widgets import Static

from backends.backend import ChatRequest
from backends.config import Config
from backends.telemetry.turns import numbers_of
from tui.connection import Connection
from tui.history.conversation import Turn
from tui.history.history import History
from tui.places import places
from tui.screens.answer_column import AnswerColumn
from tui.screens.compare_layout import lay_out
from tui.terminal.compositor import CroppedCompositor
from tui.widgets.plain import plain
from tui.widgets.waterfall import QUIET, axis_end

TICK = 0.2
"""Seconds between two updates of what stands around the answers."""


class CompareScreen(Screen[AnswerColumn | None]):
    """Gives the answer that was taken, or None. All are cancelled when it is left; `close` ends what it opened."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,f12,alt+c", "leave", "Close", show=False),
        Binding("enter", "take", "Take", show=False, priority=True),
        Binding("tab,right", "choose(1)", "Next", show=False, priority=True),
        Binding("shift+tab,left", "choose(-1)", "Before", show=False, priority=True),
        *(Binding(str(number), f"choose_number({number})", show=False, priority=True) for number in range(1, 10)),
    ]

    def __init__(
        self,
        request: ChatRequest,
        connections: Sequence[Connection],
        config: Config,
        history: History,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`connections`: to those that answer; the caller closes them."""
        super().__init__()
        self._compositor = CroppedCompositor()
        self._request = request
        self._history = history
        self._clock = clock
        self._chosen = 0
        self._budget = budget = config.budget(request.feature)
        fps = config.ui.fps
        self._columns = [
            AnswerColumn(number, connection, budget, fps, self._ended, clock, config.output_price)
            for number, connection in enumerate(connections, 1)
        ]

    def compose(self) -> ComposeResult:
        """Textual's hook."""
        question = " ".join(self._request.messages[-1].content.split())
        yield Static(Text(plain(question), "bold", no_wrap=True, overflow="ellipsis"), id="compare-question")
        with Container(id="answers"):
            yield from self._columns
        yield Static(id="compare-hints")

    def on_mount(self) -> None:
        """Textual's hook."""
        self._ticker = self.set_interval(TICK, self._update)
        self._lay_out()
        self._columns[0].focus_text()
        self.call_after_refresh(self._ask)  # once the answers have a width

    def on_resize(self, event: events.Resize) -> None:
        """Textual's hook."""
        self._lay_out()

    def on_unmount(self) -> None:
        """Textual's hook."""
        self.cancel()

    def _lay_out(self) -> None:
        layout = lay_out(self.app.size.width, self.app.size.height, len(self._columns))
        answers = self.query_one("#answers")
        answers.set_class(layout.stacked, "-stacked")
        answers.set_class(not layout.stacked, "-beside")
        for column in self._columns:
            column.take_shape(layout.shape, layout.panel_lines)
        self._update()

    @work(group="compare")
    async def _ask(self) -> None:
        """Open all backends, then ask all of them at the same moment; what opening took is in nobody's times."""
        await asyncio.gather(*(column.connection.backend() for column in self._columns), return_exceptions=True)
        entered = self._clock()
        runs = [column.begin(entered) for column in self._columns]
        async with asyncio.TaskGroup() as group:
            for number, (column, run) in enumerate(zip(self._columns, runs, strict=True)):
                key = f"{self._request.key}-{number}" if self._request.key else ""
                group.create_task(column.stream(run, msgspec.structs.replace(self._request, key=key)))

    def _ended(self, turn: Turn) -> None:
        self._update()

    def _update(self) -> None:
        if not self.is_mounted:
            return
        timelines = {column.turn.backend: column.turn.timeline for column in self._columns if column.turn.timeline}
        won = places(timelines)
        running = any(column.is_running for column in self._columns)
        reached = max(column.reached_ms for column in self._columns)
        axis = axis_end(reached, self._budget.ttft_ms) if running else reached
        for at, column in enumerate(self._columns):
            name = column.turn.backend
            marks = [mark for mark, who in (("first", won.first), ("finished first", won.finished)) if who == name]
            column.show(tuple(marks), at == self._chosen, axis)
        waits = not timelines
        words = "opening the backends · Esc leaves" if waits else "Esc cancels all" if running else "Esc closes"
        hints = f"{words} · ← → choose · Enter takes the answer into the conversation"
        self.query_one("#compare-hints", Static).update(Text(hints, QUIET, no_wrap=True, overflow="ellipsis"))
        if not running and not waits:
            self._ticker.pause()

    def cancel(self) -> bool:
        """Cancel all that streams; False when nothing does."""
        return sum(column.cancel() for column in self._columns) > 0

    def action_leave(self) -> None:
        """Esc, where nothing streams."""
        self.cancel()
        self._record(None)
        self.dismiss(None)

    def action_choose(self, step: int) -> None:
        """The next answer, or the one before."""
        self.action_choose_number((self._chosen + step) % len(self._columns) + 1)

    def action_choose_number(self, number: int) -> None:
        """The answer with this number, where there is one."""
        if number <= len(self._columns):
            self._chosen = number - 1
            self._columns[self._chosen].focus_text()
            self._update()

    def action_take(self) -> None:
        """Enter: the chosen answer goes into the conversation as it stands; the others are cancelled."""
        chosen = self._columns[self._chosen]
        if not chosen.turn.content:
            self.notify("There is nothing to take: it has no text.", timeout=3)
            return
        self.cancel()
        self._record(chosen)
        self.dismiss(chosen)

    def _record(self, taken: AnswerColumn | None) -> None:
        """Keep what the others took for the statistics, too."""
        for column in self._columns:
            timeline = column.turn.timeline
            if column is not taken and timeline is not None and timeline.end_ms is not None:
                self._history.add_turn(
                    None, numbers_of(timeline, time.time() - timeline.end_ms / 1000), timeline.dump()
                )
