"""Which backends are to answer the same question."""

from __future__ import annotations

from typing import Any, ClassVar

from rich.segment import Segment
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.strip import Strip
from textual.widgets import SelectionList
from textual.widgets.selection_list import Selection

from tui.widgets.plain import plain
from tui.widgets.waterfall import QUIET
from tui.widgets.wording import backend_words


class _Backends(SelectionList[str]):
    """What is chosen is ticked: Textual's own list tells it by colour alone."""

    def render_line(self, y: int) -> Strip:
        """Textual's hook."""
        line = super().render_line(y)
        number = self.scroll_offset.y + y
        if number >= self.option_count:
            return line
        left, inner, *rest = line
        tick = "✓" if self.get_option_at_index(number).value in self.selected else " "
        return Strip([left, Segment(tick, inner.style), *rest])


class CompareWithScreen(ModalScreen[tuple[str, ...]]):
    """Gives the names that were chosen, in order; none where it was left."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,f12,alt+c", "dismiss(())", "Close", show=False),
        Binding("enter", "begin", "Ask", show=False, priority=True),
    ]

    def __init__(self, backends: dict[str, dict[str, Any]], chosen: tuple[str, ...]) -> None:
        """`chosen`: those that are ticked to begin with."""
        super().__init__()
        self._backends = backends
        self._chosen = chosen

    def compose(self) -> ComposeResult:
        """Textual's hook."""
        with Vertical(classes="sheet", id="compare-with") as sheet:
            sheet.border_title = "Ask several backends at once"
            sheet.border_subtitle = "Space chooses · Enter asks · Esc closes"
            yield _Backends(*(Selection(self._line(name), name, name in self._chosen) for name in self._backends))

    def on_mount(self) -> None:
        """Textual's hook."""
        self.query_one(SelectionList).focus()

    def action_begin(self) -> None:
        """Enter."""
        ticked = self.query_one(SelectionList).selected
        if len(ticked) < 2:
            self.query_one("#compare-with").border_subtitle = "two at least: Space chooses"
            return
        self.dismiss(tuple(name for name in self._backends if name in ticked))

    def _line(self, name: str) -> Text:
        line = Text.assemble((plain(name), "bold"), (f"  {backend_words(self._backends[name])}", QUIET))
        line.no_wrap = True
        return line
