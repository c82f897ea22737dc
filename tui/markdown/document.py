"""A streaming Markdown text and its drawing: settled blocks drawn once per width and palette, the rest as it grows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from tui.markdown.flow import Line
from tui.markdown.mend import mend
from tui.markdown.palette import Palette
from tui.markdown.parser import References
from tui.markdown.render import OpenFence, render
from tui.markdown.sanitize import hold, scrub
from tui.markdown.splitter import Splitter
from tui.markdown.stack import Stack
from tui.markdown.text_strip import TextStrip, to_strip

Look = tuple[int, int, Palette]
"""Width, margin and palette of a drawing."""


@dataclass(frozen=True)
class Place:
    """A line of a drawing: its number, and the row of `height` in the block that holds it."""

    look: Look | None
    line: int
    block: int
    row: int
    height: int


class Document:
    """Text in, strips out. `append` only gathers; `draw` parses, once for all that was gathered."""

    def __init__(self, text: str = "", references: References | None = None) -> None:
        """`references`: link definitions that stand elsewhere in the message."""
        self._splitter = Splitter()
        self._splitter.references = references or {}
        self._pending: list[str] = []
        self._held = ""
        self.finished = False
        """Whether `finish` was called: no text may be appended after that."""
        self._stack = Stack()
        self._look: Look | None = None
        self._blocks_drawn = 0
        self._fence: OpenFence | None = None
        self._before: list[TextStrip] = []  # while blocks are drawn: the strips they replace, from line `_before_at` on
        self._before_at = 0
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
        self.finished = True

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
        look = (width, margin, palette)
        if look == self._look and not self._pending and not (self.finished and splitter.open):
            return self.height
        generation = splitter.generation
        if self._pending:
            splitter.feed("".join(self._pending))
            self._pending.clear()
        if self.finished:
            splitter.finish()
        if look != self._look or splitter.generation != generation:
            self._blocks_drawn, self._fence = 0, None
        self._look = look
        if self._fence is not None and splitter.fence_start is not None and self._blocks_drawn == len(splitter.settled):
            return self._draw_fence(self._fence)
        return self._draw_blocks(width, palette)

    def _draw_blocks(self, width: int, palette: Palette) -> int:
        splitter = self._splitter
        first = self._stack.top(min(self._blocks_drawn, len(self._stack)))
        before = self._before = [self._stack[line] for line in range(first, self._stack.height)]
        self._before_at = first
        self._stack.cut(self._blocks_drawn)
        for source in splitter.settled[self._blocks_drawn :]:
            self._push(render(source, splitter.references, width, palette))
        self._blocks_drawn = len(splitter.settled)
        self._fence = None
        if splitter.fence_start is not None:
            self._fence = OpenFence(splitter.fence_start, width, palette)
            self._draw_fence(self._fence)
        elif splitter.open.strip():
            self._push(render(mend(splitter.open), splitter.references, width, palette, final=False))
        self._before = []
        after = (self._stack[line] for line in range(first, self._stack.height))
        return first + sum(1 for _ in takewhile(lambda pair: pair[0] is pair[1], zip(before, after, strict=False)))

    def _draw_fence(self, fence: OpenFence) -> int:
        """Draws only what is new of an open fence: its finished lines stay where they are."""
        if len(self._stack) > self._blocks_drawn:
            self._stack.cut(len(self._stack) - 1)
        first = self._stack.height
        whole, last = fence.read(self._splitter.open)
        if whole:
            self._push(whole, gap=len(self._stack) == self._blocks_drawn)
        self._push(last, gap=len(self._stack) == self._blocks_drawn)
        return first

    def __getitem__(self, line: int) -> TextStrip:
        return self._stack[line]

    def find(self, line: int) -> Place:
        """What stands at `line`, to find it again."""
        if not self.height:
            return Place(self._look, line, 0, 0, 1)
        index = min(self._stack.find(min(line, self.height - 1))[0], self._blocks_drawn)
        top, end = self._span(index)
        return Place(self._look, line, index, line - top, max(1, end - top))

    def locate(self, place: Place) -> int:
        """The line of `place` now: the same one, or as far down its block where the text was wrapped again."""
        if place.look == self._look or place.block >= len(self._stack):
            return min(place.line, self.height)
        top, end = self._span(place.block)
        return top + place.row * (end - top) // place.height

    def offset_of(self, block: int) -> int:
        """Where the source of a block begins."""
        return sum(map(len, self._splitter.settled[:block]))

    def block_at(self, offset: int) -> int:
        """The block whose source holds `offset`."""
        for block, source in enumerate(self._splitter.settled):
            offset -= len(source)
            if offset < 0:
                return block
        return len(self._splitter.settled)

    def _span(self, block: int) -> tuple[int, int]:
        """First line of a block and of what follows it; all that is still open counts as one block."""
        end = self._stack.top(block + 1) if block < self._blocks_drawn else self._stack.height
        return self._stack.top(block), end

    def _push(self, lines: Sequence[Line], *, gap: bool = True) -> None:
        assert self._look is not None
        _, margin, palette = self._look
        strips = [to_strip(line, margin, palette) for line in lines]
        if gap and strips and self._stack.height:
            strips.insert(0, to_strip([], margin, palette))
        start = self._stack.height - self._before_at
        for index, old in enumerate(self._before[start : start + len(strips)]):
            if old == strips[index]:  # the same strip keeps what Textual has cached in it
                strips[index] = old
        self._stack.push(strips)
