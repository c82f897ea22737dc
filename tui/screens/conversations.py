"""All conversations: find one by what was said in it, open, rename or delete it."""

from __future__ import annotations

import time
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from tui.history import conversation_table
from tui.history.conversation_table import Listed
from tui.history.history import History
from tui.widgets.plain import plain
from tui.widgets.waterfall import QUIET

_HINT = "Enter opens · F2 renames · Del deletes · Esc closes"
_SEARCH = "search all that was said"


class ConversationsScreen(ModalScreen[str | None]):
    """Gives the id of the conversation to go on with, or None. `deleted`: those that were deleted meanwhile."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Close", show=False, priority=True),
        Binding("f10,ctrl+t", "dismiss(None)", "Close", show=False, priority=True),
        Binding("down", "move(1)", show=False, priority=True),
        Binding("up", "move(-1)", show=False, priority=True),
        Binding("pagedown", "move(10)", show=False, priority=True),
        Binding("pageup", "move(-10)", show=False, priority=True),
        Binding("f2", "rename", show=False, priority=True),
        Binding("delete,ctrl+d", "delete", show=False, priority=True),
    ]

    def __init__(self, history: History, current: str | None) -> None:
        super().__init__()
        self._history = history
        self._current = current
        self._listed: list[Listed] = []
        self._words = ""
        self._renaming: Listed | None = None
        self._doomed: str | None = None  # deleted by the next press of the same key
        self.deleted: set[str] = set()

    def compose(self) -> ComposeResult:
        """Textual's hook."""
        with Vertical(classes="sheet", id="conversations") as sheet:
            sheet.border_title = "Conversations"
            sheet.border_subtitle = _HINT
            yield Input(placeholder=_SEARCH, id="words")
            yield OptionList()

    def on_mount(self) -> None:
        """Textual's hook."""
        self.query_one(OptionList).can_focus = False
        self.query_one(Input).focus()
        self._list(0)

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        if self._renaming is None and event.value != self._words:
            self._words = event.value
            self._list(0)

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        if self._renaming is not None:
            if title := plain(event.value):
                self._history.rename_conversation(self._renaming.id, title)
            self._stop_renaming()
        elif (chosen := self._highlighted) is not None:
            self.dismiss(chosen.id)

    @on(OptionList.OptionSelected)
    def _clicked(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._listed[event.option_index].id)

    def action_leave(self) -> None:
        """Esc: of the new title, the deletion, the search; else close."""
        words = self.query_one(Input)
        if self._renaming is not None:
            self._stop_renaming()
        elif self._doomed is not None:
            self._spare()
        elif words.value:
            words.value = ""
        else:
            self.dismiss(None)

    def action_move(self, step: int) -> None:
        """Up and down, while the search keeps the focus."""
        self._spare()
        rows = self.query_one(OptionList)
        if self._listed and self._renaming is None:
            rows.highlighted = max(0, min(len(self._listed) - 1, (rows.highlighted or 0) + step))

    def action_rename(self) -> None:
        """F2: the title is changed in the line in which one searches."""
        self._spare()
        if (chosen := self._highlighted) is not None:
            self._renaming = chosen
            words = self.query_one(Input)
            words.value, words.cursor_position = chosen.title, len(chosen.title)
            self.query_one("#conversations").border_subtitle = "Enter keeps the new title · Esc does not"

    def action_delete(self) -> None:
        """Del, and Del again."""
        chosen = self._highlighted
        if chosen is None or self._renaming is not None:
            return
        if self._doomed != chosen.id:
            self._doomed = chosen.id
            self.query_one("#conversations").border_subtitle = "Del again deletes it for good · Esc keeps it"
            return
        self._history.delete_conversation(chosen.id)
        self.deleted.add(chosen.id)
        self._spare()
        self._list(self.query_one(OptionList).highlighted or 0)

    @property
    def _highlighted(self) -> Listed | None:
        at = self.query_one(OptionList).highlighted
        return self._listed[at] if at is not None and at < len(self._listed) else None

    def _spare(self) -> None:
        self._doomed = None
        if self._renaming is None:
            self.query_one("#conversations").border_subtitle = _HINT

    def _stop_renaming(self) -> None:
        self._renaming = None
        self.query_one(Input).value = self._words
        self._spare()
        self._list(self.query_one(OptionList).highlighted or 0)

    def _list(self, at: int) -> None:
        self._listed = self._history.read(lambda connection: conversation_table.listed(connection, self._words))
        rows = self.query_one(OptionList)
        rows.clear_options()
        rows.add_options([Option(self._row(one)) for one in self._listed])
        if not self._listed:
            empty = "nothing found" if self._words else "no conversations yet"
            rows.add_option(Option(Text(empty, QUIET), disabled=True))
        rows.highlighted = min(at, len(self._listed) - 1) if self._listed else None

    def _row(self, one: Listed) -> Text:
        mark = "● " if one.id == self._current else "  "
        row = Text.assemble((mark, "bold"), (_when(one.updated), QUIET), f"  {plain(one.title) or 'untitled'}")
        row.append(f"  {one.questions} {'question' if one.questions == 1 else 'questions'}", QUIET)
        if one.excerpt:
            row.append(f"\n                    {plain(one.excerpt)}", f"italic {QUIET}")
        row.no_wrap = True
        return row


def _when(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(moment))
