"""The prompt: a text area of one to eight lines that sends on Enter and remembers what was sent."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import TextArea

from tui.markdown.sanitize import scrub

PATIENCE = 0.1
"""Seconds after which a sent text is cleared though nobody has said that it is taken."""

NEWLINE_KEYS = ("shift+enter", "ctrl+j", "alt+enter")


class Composer(TextArea):
    """Enter sends, Shift+Enter and Ctrl+J break the line; Up and Down at the edges walk through what was sent.

    While walking, the unsent text waits past the newest entry. Pasted text never sends, however many lines it has.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "previous", "Previous prompt", show=False),
        Binding("down", "next", "Next prompt", show=False),
        Binding("ctrl+u", "clear_line", "Clear line", show=False),
    ]
    DEFAULT_CSS = """
    Composer {
        height: auto;
        min-height: 3;
        max-height: 10;
        border: round $foreground 25%;
        padding: 0 1;
        background: $background;
        color: $foreground;
        scrollbar-size-vertical: 1;
        &:focus { border: round $primary; }
        & .text-area--placeholder { color: $foreground 45%; }
        & .text-area--cursor-line { background: $background; }
    }
    """

    @dataclass
    class Submitted(Message):
        """The person sent `text` (never blank). It is cleared once whoever takes it has set `taken`."""

        text: str
        taken: asyncio.Event = field(default_factory=asyncio.Event)

    def __init__(
        self,
        *,
        placeholder: str = "Ask anything",
        history: Iterable[str] = (),
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(
            id=id,
            classes=classes,
            placeholder=placeholder,
            soft_wrap=True,
            tab_behavior="focus",
            show_line_numbers=False,
            highlight_cursor_line=False,
        )
        self.set_reactive(TextArea.cursor_blink, False)  # a blinking one repaints the prompt twice a second, for ever
        self._sent: list[str] = list(history)
        self._at: int | None = None  # the history entry shown; None: the unsent draft
        self._draft = ""

    @property
    def prompts(self) -> list[str]:
        """What was sent, oldest first."""
        return list(self._sent)

    @prompts.setter
    def prompts(self, prompts: Iterable[str]) -> None:
        self._sent = list(prompts)
        self._at = None

    async def action_submit(self) -> None:
        """Sends the text, unless it is blank. Keys pressed meanwhile wait until it is cleared."""
        text = scrub(self.text).strip()
        if not text:
            return
        if not self._sent or self._sent[-1] != text:
            self._sent.append(text)
        self._at, self._draft = None, ""
        message = self.Submitted(text)
        self.screen.post_message(message)  # not from parent to parent: each would be laid out before
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await message.taken.wait()
        self.text = ""

    def put_back(self, text: str) -> None:
        """Shows a text that was sent but not taken, or a draft from before, behind what is being sent."""
        self.call_later(self._put, text)

    def action_newline(self) -> None:
        """Breaks the line at the cursor."""
        self.insert("\n")

    def action_previous(self) -> None:
        """Cursor up; on the first row, the prompt sent before."""
        if not self.cursor_at_first_row:
            self.action_cursor_up()
        elif self._sent and self._at != 0:
            if self._at is None:
                self._draft = self.text
            self._show(len(self._sent) - 1 if self._at is None else self._at - 1)

    def action_next(self) -> None:
        """Cursor down; on the last row, the prompt sent after, and after the newest the unsent text."""
        if not self.cursor_at_last_row:
            self.action_cursor_down()
        elif self._at is not None:
            self._show(self._at + 1 if self._at + 1 < len(self._sent) else None)

    @property
    def cursor_at_first_row(self) -> bool:
        """Whether the cursor is on the first row as wrapped."""
        return self.wrapped_document.location_to_offset(self.cursor_location).y == 0

    @property
    def cursor_at_last_row(self) -> bool:
        """Whether the cursor is on the last row as wrapped."""
        return self.wrapped_document.location_to_offset(self.cursor_location).y == self.wrapped_document.height - 1

    def action_clear_line(self) -> None:
        """Deletes what stands before the cursor in its line."""
        self.action_delete_to_start_of_line()

    def _show(self, index: int | None) -> None:
        self._at = index
        self._put(self._draft if index is None else self._sent[index])

    def _put(self, text: str) -> None:
        self.text = text
        self.move_cursor(self.document.end)

    async def _on_key(self, event: events.Key) -> None:
        """Enter and its kin, in the order in which keys came: a priority binding would overtake the text before it."""
        if event.key != "enter" and event.key not in NEWLINE_KEYS:
            return
        event.prevent_default()
        event.stop()
        if event.key == "enter":
            await self.action_submit()
        else:
            self.action_newline()

    async def _on_paste(self, event: events.Paste) -> None:
        """Pasted text goes in as one piece, made safe, its line ends as newlines."""
        event.prevent_default()
        event.stop()
        if self.read_only or not event.text:
            return
        if (result := self._replace_via_keyboard(scrub(event.text), *self.selection)) is not None:
            self.move_cursor(result.end_location)
