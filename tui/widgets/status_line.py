"""The status line: which backend, in what state, and the keys that matter now; parts that do not fit are dropped."""

from __future__ import annotations

import msgspec
from rich.text import Text

from tui.widgets.latency_panel import TONE_COLOURS
from tui.widgets.plain import plain
from tui.widgets.text_lines import TextLines
from tui.widgets.waterfall import QUIET
from tui.widgets.wording import Tone


class StatusInfo(msgspec.Struct, frozen=True):
    """What the line says. `hints` are (key, what it does), the most important first."""

    backend: str
    model: str = ""
    state: str = "ready"
    tone: Tone = "good"
    hints: tuple[tuple[str, str], ...] = ()


def status_text(info: StatusInfo, width: int) -> Text:
    """`info` on exactly one line of at most `width` columns.

    Dropped first: hints from the last, then the model, then the backend's name; the state stays and is cut.
    """
    model, hints, backend = plain(info.model), info.hints, plain(info.backend)
    while True:
        left, right = _left(backend, model, info), _right(hints)
        room = width - left.cell_len - right.cell_len
        if room >= (2 if hints else 0) or not (hints or model or backend):
            break
        if hints:
            hints = hints[:-1]
        elif model:
            model = ""
        else:
            backend = ""
    line = Text.assemble(left, " " * max(0, room), right, no_wrap=True)
    line.truncate(width, overflow="ellipsis")
    return line


def _left(backend: str, model: str, info: StatusInfo) -> Text:
    colour = TONE_COLOURS[info.tone]
    line = Text.assemble(("● ", colour))
    for name, style in ((backend, "bold"), (model, QUIET)):
        if name:
            line.append(name, style)
            line.append("  ")
    line.append(plain(info.state), colour if info.tone != "quiet" else QUIET)
    return line


def _right(hints: tuple[tuple[str, str], ...]) -> Text:
    line = Text()
    for key, what in hints:
        if line:
            line.append("   ")
        line.append(key, "bold")
        line.append(f" {what}", QUIET)
    return line


class StatusLine(TextLines):
    """Shows one `StatusInfo`."""

    DEFAULT_CSS = """
    StatusLine { height: 1; }
    """

    def __init__(self, info: StatusInfo, id: str | None = None) -> None:
        super().__init__(id=id)
        self._info = info

    def show(self, info: StatusInfo) -> None:
        """Draw `info`, if it is news."""
        if info != self._info:
            self._info = info
            self.show_news()

    def lines(self, width: int) -> list[Text]:
        """The one line."""
        return [status_text(self._info, width)]
