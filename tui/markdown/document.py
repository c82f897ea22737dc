"""A streaming Markdown text and its drawing: settled blocks drawn once per width and palette, the rest as it grows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from rich.segment import Segment
from textual.strip import Strip

from tui.markdown.flow import Line, width_of
from tui.markdown.mend import mend
from tui.markdown.palette import Palette
from tui.markdown.render import render
from tui.markdown.sanitize import hold, scrub
from tui.markdown.splitter import Splitter
from tui.markdown.stack import Stack


class Document:
    """Text in, strips out. `append` only gathers; `draw` parses, once for all that was gathered."""

    def __init__(self, text: str = "") -> None:
        self._splitter = Splitter()
        self._pending: list[str] = []
        self._held = ""
        self._finished = False
        self._stack = Stack()
        self._drawn: tuple[int, int, Palette] | None = None
        self._blocks_drawn = 0
        self.append(text)

    def append(self, text: str) -> None:
        """Adds untrusted text; nothing is parsed yet."""
        ready, self._held = hold(self._held + text)
        if ready:
            self._pending.append(scrub(ready))

    def finish(self) -> None:
        """No more text comes: the rest is settled at the next `draw`."""
        if self._held:
            self._pending.append("\n")
            self._held = ""
        self._finished = True

    @property
    def source(self) -> str:
        """The text so far, scrubbed."""
        return "".join([*self._splitter.settled, self._splitter.open, *self._pending])

    @property
    def height(self) -> int:
        """Lines as last drawn."""
        return self._stack.height

    def draw(self, width: int, palette: Palette, margin: int = 0) -> int:
        """Brings the strips up to date for `width` cells after `margin` blank ones; the first line that may differ.

        That is `height` when nothing changed.
        """
        splitter = self._splitter
        fresh = self._drawn != (width, margin, palette)
        if not fresh and not self._pending and not (self._finished and splitter.open):
            return self.height
        generation = splitter.generation
        if self._pending:
            splitter.feed("".join(self._pending))
            self._pending.clear()
        if self._finished:
            splitter.finish()
        if fresh or splitter.generation != generation:
            self._blocks_drawn = 0
        self._drawn = (width, margin, palette)
        changed = self._blocks_drawn
        first = self._stack.top(min(changed, len(self._stack)))
        before = [self._stack[line] for line in range(first, self._stack.height)]
        self._stack.cut(changed)
        for source in splitter.settled[changed:]:
            self._push(render(source, splitter.references, width, palette), margin, palette)
        self._blocks_drawn = len(splitter.settled)
        if splitter.open.strip():
            open_text = splitter.open if splitter.in_fence else mend(splitter.open)
            self._push(render(open_text, splitter.references, width, palette, final=False), margin, palette)
        after = (self._stack[line] for line in range(first, self._stack.height))
        return first + sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(before, after, strict=False)))

    def __getitem__(self, line: int) -> Strip:
        return self._stack[line]

    def find(self, line: int) -> tuple[int, int, int]:
        """The block that holds `line`, the line within it, and the block's height: to find the place again."""
        index, row = self._stack.find(min(line, max(0, self.height - 1)))
        return index, row, len(self._stack.piece(index)) if self.height else 0

    def locate(self, block: int, row: int, height: int) -> int:
        """The line that is now where `find` was: the same row, or as far down where the block was wrapped again."""
        if block >= len(self._stack):
            return self.height
        now = len(self._stack.piece(block))
        return self._stack.top(block) + (row if now == height else row * now // max(1, height))

    def _push(self, lines: Sequence[Line], margin: int, palette: Palette) -> None:
        strips = [to_strip(line, margin, palette) for line in lines]
        if strips and self._stack.height:
            strips.insert(0, to_strip([], margin, palette))
        self._stack.push(strips)


def to_strip(line: Line, margin: int, palette: Palette) -> Strip:
    """`line` behind `margin` blanks."""
    return Strip([Segment(" " * margin, palette.text), *line] if margin else line, margin + width_of(line))
