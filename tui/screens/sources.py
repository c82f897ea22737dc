"""The passages behind an answer, to be read: those it cites, then those that were found and not cited."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.console import Group
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from backends.events import Citation
from tui.markdown.sanitize import sanitize
from tui.widgets.plain import plain
from tui.widgets.waterfall import QUIET, SEARCH


class SourcesScreen(ModalScreen[None]):
    """A drawer on the right: the list, and the passage of the line that is highlighted."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,f3,ctrl+o", "dismiss", "Close", show=False),
        Binding("pageup", "page(-1)", show=False, priority=True),
        Binding("pagedown", "page(1)", show=False, priority=True),
    ]

    def __init__(self, cited: Sequence[Citation], found: Sequence[Citation], selected: str = "") -> None:
        """`selected` is the id of the passage to open with; `found` may contain the cited ones again."""
        super().__init__()
        known = {citation.id for citation in cited}
        self._cited = len(cited)
        self._passages = [*cited, *(passage for passage in found if passage.id not in known)]
        self._selected = selected

    def compose(self) -> ComposeResult:
        """Textual's hook."""
        with Vertical(classes="drawer", id="sources") as drawer:
            drawer.border_title = "Sources"
            drawer.border_subtitle = "↑ ↓ choose · Esc closes"
            lines = [Option(self._line(number)) for number in range(len(self._passages))]
            if self._cited < len(lines):
                lines.insert(self._cited, Option(Text("Found, not cited", f"italic {QUIET}"), disabled=True))
            yield OptionList(*lines)
            with VerticalScroll(id="passage", can_focus=False):
                yield Static(id="passage-text")

    def on_mount(self) -> None:
        """Textual's hook."""
        ids = [passage.id for passage in self._passages]
        number = ids.index(self._selected) if self._selected in ids else 0
        self.query_one(OptionList).highlighted = number + (number >= self._cited)  # behind the heading

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        """Textual's hook."""
        number = event.option_index - (event.option_index > self._cited)
        self.query_one("#passage-text", Static).update(_shown(self._passages[number]))
        self.query_one("#passage").scroll_home(animate=False)

    def action_page(self, direction: int) -> None:
        """Scroll the passage while the list keeps the focus."""
        passage = self.query_one("#passage")
        passage.scroll_relative(y=direction * max(1, passage.size.height - 1), animate=False)

    def _line(self, number: int) -> Text:
        passage = self._passages[number]
        cited = number < self._cited
        line = Text.assemble((f"[{plain(passage.id)}]".ljust(6), f"bold {SEARCH}" if cited else QUIET))
        line.append(plain(passage.title or passage.source), "" if cited else QUIET)
        if place := _place(passage):
            line.append(f" · {place}", QUIET)
        line.no_wrap = True
        return line


def _place(passage: Citation) -> str:
    """The locator, unless the title says it already."""
    return "" if passage.locator in passage.title else plain(passage.locator)


def _shown(passage: Citation) -> Group:
    heading = Text(plain(passage.title or passage.source), "bold")
    where = " · ".join(part for part in (plain(passage.source), _place(passage)) if part)
    return Group(heading, Text(where, QUIET), Text(), Text(sanitize(passage.snippet) or "No text was sent for it."))
