"""What the containers around a block add to its lines: bars of quotes, markers and indentation of items."""

from __future__ import annotations

from dataclasses import dataclass

from rich.segment import Segment
from rich.style import Style

from tui.markdown.blocks import Block, Container, Item, Quote
from tui.markdown.flow import Line, wrap
from tui.markdown.palette import Palette
from tui.markdown.text_strip import Border

_BULLETS = "•◦▪"
_LEAST = 12  # cells: deeper nesting stops indenting
_BOXES = {"[ ] ": "☐ ", "[x] ": "☑ ", "[X] ": "☑ "}


@dataclass(frozen=True)
class _Frame:
    """One container: its marker ("" for a quote), the cells that it takes, and those there were."""

    node: Container
    marker: str
    indent: int
    room: int


class Layout:
    """How lines stand within the containers of `path`, at `width` cells."""

    def __init__(self, path: tuple[Container, ...], width: int, palette: Palette) -> None:
        self._palette = palette
        self._frames: list[_Frame] = []
        self.base: Style = palette.text
        """The style of plain text."""
        depth = 0
        for node in path:
            if isinstance(node, Quote):
                marker, indent = "", 2 if width >= _LEAST else 0
                self.base = palette.quote
            else:
                marker = _marker(node, depth)
                indent = len(marker) if width - len(marker) >= _LEAST else 0
                depth += 1
            self._frames.append(_Frame(node, marker, indent, width))
            width -= indent
        self.width = max(1, width)
        """Cells for the lines themselves."""

    def dress(self, lines: list[Line], block: Block, *, first: bool = True) -> list[Line]:
        """`lines` of `block` within its containers; `first` when they are the block's first ones."""
        for frame in reversed(self._frames):
            node = frame.node
            if isinstance(node, Quote):
                if frame.indent:
                    bar = Border("▎ ", self._palette.quote_bar)
                    lines = [[bar, *line] for line in lines]
            elif first and block.leads(node):
                lines = self._lead(lines or [[]], frame)
            elif frame.indent:
                blank = Border(" " * frame.indent, self.base)
                lines = [[blank, *line] if line else [] for line in lines]
        return lines

    def _lead(self, lines: list[Line], frame: _Frame) -> list[Line]:
        """The first lines of an item, beside its marker or below it."""
        palette = self._palette
        if not frame.indent:
            return [*wrap([(frame.marker.strip(), palette.bullet)], frame.room), *lines]
        first, *rest = lines
        blank = Border(" " * frame.indent, self.base)
        bullet = frame.marker.lstrip()
        lead = Border(" " * (frame.indent - len(bullet)), palette.bullet)
        return [[lead, Segment(bullet, palette.bullet), *first], *([blank, *line] if line else [] for line in rest)]

    def blank(self, shared: int) -> Line:
        """A blank line within the first `shared` containers."""
        line: Line = []
        for frame in reversed(self._frames[:shared]):
            if isinstance(frame.node, Quote) and frame.indent:
                line = [Border("▎ ", self._palette.quote_bar), *line]
            elif line and frame.indent:
                line = [Border(" " * frame.indent, self.base), *line]
        return line


def _marker(item: Item, depth: int) -> str:
    box = _BOXES.get(item.box, "")
    if item.number is not None:
        return f"{item.number:>2}. {box}"
    return f" {box or _BULLETS[min(depth, len(_BULLETS) - 1)] + ' '}"
