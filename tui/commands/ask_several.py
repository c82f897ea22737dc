"""The answers of several backends on one stdout, each in one piece under its name.

The answer that begins first is printed as it comes; the others wait and are printed after it, as far as they are, in
the order in which they began. What fails before its first word is told at once, on stderr.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TextIO

from backends.events import Event, Token
from backends.telemetry.explain import duration
from backends.telemetry.summary import summarize
from backends.telemetry.timeline import Timeline
from tui.commands.ask_output import TextOutput
from tui.places import places
from tui.widgets.plain import plain


class Pages:
    """Where the answers go: one page after the other."""

    def __init__(self, stdout: TextIO, stderr: TextIO, sources: bool) -> None:
        """See `TextOutput`."""
        self._stdout = stdout
        self._stderr = stderr
        self._sources = sources
        self._waiting: list[Page] = []  # by when they began; the first is being printed
        self._printed = 0

    def page(self, name: str) -> Page:
        """The page of the backend `name`."""
        return Page(name, self, TextOutput(self._stdout, self._stderr, self._sources, plain(name)))

    def begin(self, page: Page) -> None:
        """`page` has text."""
        self._waiting.append(page)
        if self._waiting[0] is page:
            self._open(page)

    def turn(self) -> None:
        """The page that was printed has ended: print those that waited, up to one that has not."""
        while self._waiting and self._waiting[0].is_over:
            del self._waiting[0]
            if self._waiting:
                self._open(self._waiting[0])

    def _open(self, page: Page) -> None:
        self._stdout.write(f"{chr(10) if self._printed else ''}## {plain(page.name)}\n\n")
        self._printed += 1
        page.open()


class Page:
    """One answer; an `Output`."""

    def __init__(self, name: str, pages: Pages, output: TextOutput) -> None:
        self.name = name
        self._pages = pages
        self._output = output
        self._kept: list[Event] = []
        self._ended: Timeline | None = None
        self._has_begun = self._is_open = False

    @property
    def is_over(self) -> bool:
        """Whether all of it is printed."""
        return self._is_open and self._ended is not None

    def show(self, event: Event) -> None:
        """See `Output`."""
        if self._is_open:
            self._output.show(event)
            return
        self._kept.append(event)
        if isinstance(event, Token) and not self._has_begun:
            self._has_begun = True
            self._pages.begin(self)

    def end(self, timeline: Timeline) -> None:
        """See `Output`."""
        self._ended = timeline
        if self._is_open or not self._has_begun:
            self._finish(timeline)
        self._pages.turn()

    def open(self) -> None:
        """Print what was kept; from now on what comes is printed as it comes."""
        self._is_open = True
        for event in self._kept:
            self._output.show(event)
        self._kept.clear()
        if self._ended is not None:
            self._output.end(self._ended)

    def _finish(self, timeline: Timeline) -> None:
        if not self._is_open:
            for event in self._kept:
                self._output.show(event)
        self._output.end(timeline)


def comparison(timelines: Mapping[str, Timeline]) -> str:
    """A line for each backend: its times, and who was first and who had finished first."""
    won = places(timelines)
    width = max(len(plain(name)) for name in timelines)
    lines = []
    for name, timeline in timelines.items():
        numbers = summarize(timeline)
        parts = [f"first token {duration(numbers.ttft)}" if numbers.ttft is not None else "no token"]
        parts += ["first"] if name == won.first else []
        if numbers.tokens_per_second is not None:
            parts.append(f"{numbers.tokens_per_second:.0f} tok/s")
        if numbers.total is not None:
            parts.append(f"total {duration(numbers.total)}")
        parts += ["finished first"] if name == won.finished else []
        lines.append(f"{plain(name):{width}}  {' · '.join([*parts, numbers.outcome])}")
    return "\n".join(lines)
