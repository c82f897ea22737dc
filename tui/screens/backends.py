"""The list of configured backends, to go on with another one."""

from __future__ import annotations

from typing import Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from tui.widgets.plain import plain
from tui.widgets.waterfall import QUIET
from tui.widgets.wording import backend_words


class BackendsScreen(ModalScreen[str | None]):
    """Gives the chosen backend's name, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,f4,ctrl+b", "dismiss(None)", "Close", show=False)]

    def __init__(self, backends: dict[str, dict[str, Any]], current: str) -> None:
        super().__init__()
        self._backends = backends
        self._current = current

    def compose(self) -> ComposeResult:
        """Textual's hook."""
        with Vertical(classes="sheet", id="backends") as sheet:
            sheet.border_title = "Switch the backend"
            sheet.border_subtitle = "Enter uses it · Esc closes"
            yield OptionList(*(Option(self._line(name), id=name) for name in self._names()))

    def on_mount(self) -> None:
        """Textual's hook."""
        self.query_one(OptionList).highlighted = self._names().index(self._current)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Textual's hook."""
        self.dismiss(event.option_id)

    def _names(self) -> list[str]:
        return list(dict.fromkeys([*self._backends, self._current]))

    def _line(self, name: str) -> Text:
        about = backend_words(self._backends.get(name, {}))
        line = Text.assemble(("● " if name == self._current else "  ", "bold"), (plain(name), "bold"))
        line.append(f"  {about}", QUIET)
        line.no_wrap = True
        return line
