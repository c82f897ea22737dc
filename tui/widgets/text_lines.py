"""Lines of text of which some change a few times a second: only those are drawn again."""

from __future__ import annotations

from rich.segment import Segment
from rich.style import Style
from rich.text import Span, Text
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from tui.terminal.painted_app import in_plain_view, paint_rows

Known = tuple[str, str, tuple[Span, ...]]
"""What makes two texts look the same: characters, style, styles of parts."""


class TextLines(Widget):
    """Shows what `lines` gives; whoever has news calls `show_news`."""

    _width: int | None = None  # of what is drawn; None where the style has changed since
    _strips: dict[Known, Strip]
    _shown: list[Strip]

    def lines(self, width: int) -> list[Text]:
        """What there is to say, in `width` columns; longer lines are cut."""
        raise NotImplementedError

    def show_news(self) -> None:
        """Draws the lines that are not what they were."""
        width, height = self.content_size
        if not self.display or self._width != width:
            self.refresh()
            return
        before = self._shown
        self._draw()
        rows = range(min(height, max(len(before), len(self._shown))))
        changed = [y for y in rows if before[y : y + 1] != self._shown[y : y + 1]]
        regions = [Region(0, y, width, 1) for y in changed]
        if changed and in_plain_view(self):
            self._set_dirty(*regions)
            above = self.content_offset.y
            paint_rows(self, range(above + changed[0], above + changed[-1] + 1))
        elif changed:
            self.refresh(*regions)

    def _draw(self) -> None:
        """Makes a strip of every line; one that says the same as before keeps its strip."""
        width = self.content_size.width
        known = self._strips if self._width == width else {}
        base = self.rich_style
        texts = [(_known(text), text) for text in self.lines(width)] if width > 0 else []
        strips = [(key, known.get(key) or self._strip(text, width, base)) for key, text in texts]
        self._width, self._strips, self._shown = width, dict(strips), [strip for _, strip in strips]

    def _strip(self, text: Text, width: int, base: Style) -> Strip:
        text.truncate(width)
        return Strip(Segment.apply_style(text.render(self.app.console), base)).adjust_cell_length(width, base)

    def render_line(self, y: int) -> Strip:
        """Textual's hook."""
        width = self.content_size.width
        if self._width != width:
            self._draw()
        return self._shown[y] if y < len(self._shown) else Strip.blank(width, self.rich_style)

    def notify_style_update(self) -> None:
        """Textual's hook: the colours may be others now."""
        super().notify_style_update()
        self.forget()

    def forget(self) -> None:
        """What is drawn does not hold any longer."""
        self._width = None


def _known(text: Text) -> Known:
    return text.plain, str(text.style), tuple(text.spans)
