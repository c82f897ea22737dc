"""How far a load is, on a terminal: a bar for each level of a sweep."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from backends.bench.load import Load, Result
from backends.bench.sweep import Level

EVERY = 1.0
"""Seconds between two pictures: drawing one takes the event loop a millisecond, in which no token is stamped."""


class Progress:
    """Draws nothing where `stream` is no terminal."""

    def __init__(self, stream: TextIO) -> None:
        console = Console(file=stream)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[told]}"),
            TimeRemainingColumn(),
        )
        self._bars = Bars(
            *columns, console=console, auto_refresh=False, transient=True, disable=not console.is_terminal
        )
        self._task: TaskID | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._load = Load()
        self._begun = 0.0
        self._answered = self._failed = 0

    def __enter__(self) -> Progress:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._bars.stop()

    def begin(self, level: Level, load: Load) -> None:
        """The next level begins."""
        if self._task is not None:
            self._bars.remove_task(self._task)
        self._load, self._begun = load, time.monotonic()
        self._answered = self._failed = 0
        self._task = self._bars.add_task(str(level), total=load.count or load.duration, told="")
        if self._timer is None and not self._bars.disable:
            self._draw()

    def take(self, result: Result) -> None:
        """One request more has ended."""
        self._answered += result.good
        self._failed += not result.good

    def _draw(self) -> None:
        ended = self._answered + self._failed
        done = ended if self._load.count else min(time.monotonic() - self._begun, self._load.duration or 0.0)
        told = f"{self._answered:,} answered" + (f", {self._failed:,} failed" if self._failed else "")
        assert self._task is not None
        self._bars.update(self._task, completed=done, told=told, refresh=True)
        self._timer = asyncio.get_running_loop().call_later(EVERY, self._draw)
