"""The Textual app: holds the collaborators, the commands of the palette, and the keys that work everywhere."""

from __future__ import annotations

import os

os.environ.setdefault("ESCDELAY", "25")  # read when Textual is imported: a bare ESC would wait 100 ms otherwise

import time
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from pathlib import Path
from typing import ClassVar

from textual.actions import SkipAction
from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.driver import Driver
from textual.screen import Screen

from backends.backend import Backend
from backends.config import Config, default_path
from tui.connection import Connection
from tui.history.history import History
from tui.keyboard_driver import KeyboardDriver
from tui.screens.chat import ChatScreen
from tui.screens.keys import COPIES
from tui.terminal.painted_app import PaintedApp


class LlmChat(PaintedApp[None]):
    """The chat.

    Everything it needs comes resolved: `open_backend` makes the backend of a name (BackendError where it cannot; it is
    called in a thread, after the first frame), `conversation` is the stored conversation to go on with. `config_path`
    is the file that the screen names where it tells how to change something. `list_models` asks the backend of a name
    for its models (BackendError). The caller closes `history`.
    """

    CSS_PATH = "app.tcss"
    TITLE = "llmchat"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel_answer", "Cancel", show=False, priority=True),
        Binding("ctrl+c", "interrupt", "Cancel", show=False, priority=True),
    ]

    def __init__(
        self,
        *,
        config: Config,
        open_backend: Callable[[str], Backend],
        backend_name: str,
        history: History,
        conversation: str | None = None,
        config_path: Path | None = None,
        list_models: Callable[[str], Awaitable[tuple[str, ...]]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._config = config
        self._connection = Connection(open_backend, backend_name)
        self.chat = ChatScreen(config, self._connection, history, conversation, config_path or default_path(), clock)
        self.chat.list_models = list_models

    def get_driver_class(self) -> type[Driver]:
        """Textual's hook."""
        chosen = super().get_driver_class()
        return KeyboardDriver if issubclass(KeyboardDriver, chosen) else chosen

    def get_default_screen(self) -> Screen[None]:
        """Textual's hook."""
        return self.chat

    def on_mount(self) -> None:
        """Textual's hook."""
        wanted = self._config.ui.theme
        if wanted in self.available_themes:
            self.theme = wanted
        else:
            known = ", ".join(sorted(self.available_themes))
            self.notify(f"there is no theme '{wanted}'; known: {known}", severity="warning", markup=False)

    async def on_unmount(self) -> None:
        """Textual's hook."""
        await self._connection.aclose()

    def action_cancel_answer(self) -> None:
        """Esc: cancels, always first; where nothing streams, what is open gets the key."""
        if not self.chat.cancel_answer():
            raise SkipAction

    def action_interrupt(self) -> None:
        """Ctrl+C: copies a selection where there is one, else cancels, else says how to quit."""
        selected = self.screen.get_selected_text() or getattr(self.focused, "selected_text", "")
        if selected:
            raise SkipAction
        if not self.chat.cancel_answer():
            self.notify("Ctrl+Q quits", timeout=2)

    def copy_to_clipboard(self, text: str) -> None:
        """Textual's hook; the chat says what came of it."""
        self._clipboard = text
        if (driver := self._driver) is not None and self.chat.is_attached:
            self.chat.copy(text, driver.write)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """The palette's commands."""
        chat = self.chat
        yield SystemCommand("New conversation", "Ctrl+N", chat.action_new_conversation)
        yield SystemCommand("Retry", "Answer the last question again (Ctrl+R)", chat.action_retry)
        yield SystemCommand("Edit question", "Ask the last question in other words (F8)", chat.action_edit)
        yield SystemCommand("Version before", "Of an answer or question (Alt+←)", partial(chat.action_sibling, -1))
        yield SystemCommand("Version after", "Of an answer or question (Alt+→)", partial(chat.action_sibling, 1))
        yield SystemCommand("Continue", "Go on where the answer was cut (Ctrl+G)", chat.action_continue_answer)
        for key, what, about in COPIES:
            yield SystemCommand(f"Copy {what}", f"{about} ({key})", partial(chat.action_copy, what))
        yield SystemCommand("Search", "Find text in the conversation (Ctrl+F)", chat.action_find)
        yield SystemCommand("Sources", "Read the passages behind the answer (F3)", chat.action_sources)
        yield SystemCommand("Conversations", "Search, open, rename, delete (F10)", chat.action_conversations)
        yield SystemCommand("Statistics", "What all answers took (F9)", chat.action_statistics)
        yield SystemCommand("Latency panel", "Full, one line, off (F2)", chat.action_cycle_panel)
        yield SystemCommand("Compare", "Ask several backends at once, side by side (F12)", chat.action_compare)
        yield SystemCommand("Switch backend", "Choose from the configured backends (F4)", chat.action_backends)
        for name in self._config.backends:
            if name != self._connection.name:
                about = "Go on with this backend"
                yield SystemCommand(f"Use backend {name}", about, partial(chat.switch_backend, name))
        yield SystemCommand("Theme", "Change the colours", self.action_change_theme)
        yield SystemCommand("Help", "Keys, stages and numbers (F1)", chat.action_help)
        yield SystemCommand("Quit", "Ctrl+Q", self.action_quit)
