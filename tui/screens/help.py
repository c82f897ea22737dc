"""The help screen: all keys, the stages, the words of the panel, and where things lie."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from backends.telemetry.stages import STAGES
from tui.screens.keys import all_keys
from tui.widgets.waterfall import QUIET, STAGE_COLOURS
from tui.widgets.wording import STAGE_LABELS, STAGE_MEANINGS

_NUMBERS = (
    ("TTFT", "time from Enter to the first token; against its budget"),
    ("TPOT", "time per output token after the first; 1000 / TPOT is tok/s"),
    ("Total", "time from Enter to the end of the answer"),
    ("cached", "prompt tokens that the backend had read before and did not read again"),
    ("drafts", "tokens proposed ahead, by a small model or from the text, and how many were right"),
    ("KV", "cells of the engine's key-value cache in use, one per token"),
    ("~", "derived: the difference of two measurements, or seen only from outside"),
    ("unattributed", "part of TTFT that no stage accounts for"),
)

NARROW = 70
"""Columns below which explanations stand under what they explain."""


class HelpScreen(ModalScreen[None]):
    """Opens with F1, closes with Esc, F1 or Enter."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,f1,enter,q", "dismiss", "Close", show=False),
        Binding("up", "scroll('up')", show=False),
        Binding("down", "scroll('down')", show=False),
    ]

    def __init__(self, config_path: Path | None, log_path: Path | None, history_path: Path | None) -> None:
        super().__init__()
        self._places = (("config", config_path), ("history", history_path), ("log", log_path))

    def compose(self) -> ComposeResult:
        """Textual's hook."""
        with VerticalScroll(classes="sheet", id="help") as sheet:
            sheet.border_title = "Help"
            sheet.border_subtitle = "Esc closes"
            yield Static(self._content())

    def on_mount(self) -> None:
        """Textual's hook."""
        self.query_one("#help").focus()

    def _content(self) -> RenderableType:
        stages = [(Text(STAGE_LABELS[stage], STAGE_COLOURS[stage]), STAGE_MEANINGS[stage]) for stage in STAGES]
        sections = [
            ("Keys", [(Text(key), what) for key, what in all_keys()]),
            ("Stages of an answer", stages),
            ("Numbers", [(Text(name), what) for name, what in _NUMBERS]),
            ("Files", [(Text(name), str(path)) for name, path in self._places if path is not None]),
        ]
        narrow = self.app.size.width < NARROW
        return Group(*(_section(title, rows, narrow) for title, rows in sections))


def _section(title: str, rows: list[tuple[Text, str]], narrow: bool) -> RenderableType:
    """Two columns, or one above the other where there is no room."""
    table = Table.grid(padding=(0, 2, 0, 0))
    if not narrow:
        table.add_column(no_wrap=True, min_width=20)
    table.add_column(ratio=1, overflow="fold")  # a long path has to be readable
    for name, what in rows:
        name.stylize("bold")
        if narrow:
            table.add_row(name)
            table.add_row(Text(f"  {what}", QUIET))
        else:
            table.add_row(name, Text(what, QUIET))
    return Group(Text(title, "bold underline"), table, Text())
