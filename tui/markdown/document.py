"""A streaming Markdown text and its drawing: settled blocks drawn once per width and palette, the rest as it grows."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from tui.markdown.blocks import Block, gap
from tui.markdown.flow import Line
from tui.markdown.growing import Growing, growing
from tui.markdown.highlight import BUDGET, Colouring, colouring, load_ahead
from tui.markdown.layout import Layout
from tui.markdown.palette import Palette
from tui.markdown.parser import References, labels_of
from tui.markdown.render import block_lines
from tui.markdown.sanitize import hold, scrub
from tui.markdown.stack import Stack
from tui.markdown.stream import Stream
from tui.markdown.text_strip import TextStrip, to_strip

Look = tuple[int, int, Palette, int]
"""Width, margin and palette of a drawing, and the width of what may be wider than text."""


@dataclass(frozen=True)
class Place:
    """A line of a drawing: its number, and the row of `height` in the block that holds it."""

    look: Look | None
    line: int
    block: int
    row: int
    height: int


class Document:
    """Text in, strips out. `append` only gathers; `draw` reads, once for all that was gathered."""

    def __init__(self, text: str = "", references: References | None = None, *, coloured: bool = True) -> None:
        """`references`: link definitions that stand elsewhere in the message. `coloured`: whether code gets colours."""
        self._coloured = coloured
        self._stream = Stream(references)
        self._pending: list[str] = []
        self._held = ""
        self._last = ""  # the character before
        self.finished = False
        """Whether `finish` was called: no text may be appended after that."""
        self._stack = Stack()  # a piece for each settled block, then those of what is still open
        self._look: Look | None = None
        self._settled = 0  # blocks drawn for good
        self._gaps: list[int] = []  # blank lines that their pieces begin with
        self._labels: dict[str, set[int]] = {}  # those of them that a definition of a link label would change
        self._references = len(self._stream.reader.references)  # definitions they were drawn with
        self._growing: Growing | None = None
        self._fixed = 0  # pieces of the open block that stay
        self._open_gap = 0  # blank lines that the first of them begins with
        self._colourings: list[tuple[int, int, Colouring]] = []  # block, the next row of its own, its colours
        self._before: list[TextStrip] = []  # while blocks are drawn: the strips they replace, from line `_before_at` on
        self._before_at: int | None = None
        self.append(text)

    def append(self, text: str) -> None:
        """Adds untrusted text; nothing is read yet."""
        ready, self._held = hold(self._held + text)
        if ready:
            clean = scrub(ready, self._last)
            self._pending.append(clean)
            self._last = clean[-1]

    def finish(self) -> None:
        """No more text comes: the rest is settled at the next `draw`."""
        if self._held:
            self._pending.append(scrub(self._held, self._last))
            self._held = ""
        self.finished = True

    @property
    def source(self) -> str:
        """The text so far, scrubbed."""
        return "".join([*self._stream.texts, *self._pending])

    @property
    def height(self) -> int:
        """Lines as last drawn."""
        return self._stack.height

    @property
    def unfinished(self) -> bool:
        """Whether there is more to draw though no text came: the colours of long code."""
        return bool(self._colourings)

    @property
    def complete(self) -> bool:
        """Whether all of the text is there and was drawn."""
        return self._stream.closed

    def draw(self, width: int, palette: Palette, margin: int = 0, wide: int = 0) -> int:
        """Brings the strips up to date for `width` cells after `margin` blank ones; the first line that may differ.

        That is `height` when nothing changed. Tables may take `wide` cells, where that is more.
        """
        look = (width, margin, palette, max(width, wide))
        stream = self._stream
        if look != self._look:
            self._start_over(look)
        elif not (self._pending or self._colourings or (self.finished and not stream.closed)):
            return self.height
        first = self.height
        if self._pending or not self._settled or (self.finished and not stream.closed):
            stream.feed("".join(self._pending))
            self._pending.clear()
            if self.finished:
                stream.close()
            first = self._draw_blocks()
        return min(first, self._colour())

    def _start_over(self, look: Look) -> None:
        self._look = look
        self._stack.cut(0)
        self._settled, self._fixed, self._growing = 0, 0, None
        self._gaps.clear()
        self._labels.clear()
        self._colourings.clear()

    def _draw_blocks(self) -> int:
        """Draws what is new; the first line that may differ."""
        reader = self._stream.reader
        stale = self._take_definitions()
        loosened, reader.loosened = reader.loosened, None
        if not stale and loosened is None:
            self._close_growing()
        grown = self._growing
        going_on = self._growing is not None and self._growing.block is reader.open and not self._stream.as_table
        keep = self._settled + (self._fixed if going_on else 0)
        start = min([keep, *stale, *([] if loosened is None else [loosened])])
        if not going_on or start < keep:
            self._growing, self._fixed = None, 0
        old = [self._stack.piece(index) for index in range(start, self._settled)]
        first = self._replace_from(start)
        for index, piece in enumerate(old, start):
            self._push_settled(index, None if index in stale else piece)
        for index in range(self._settled, len(reader.settled)):
            whole = None
            if grown is not None and grown.block is reader.settled[index]:
                whole = grown.finished(reader.references)
            self._push_settled(index, None, whole)
        self._settled = len(reader.settled)
        first = min(first, self._draw_open())
        before, self._before, self._before_at = self._before, [], None
        after = (self._stack[line] for line in range(first, self._stack.height))
        return first + sum(1 for _ in takewhile(lambda pair: pair[0] is pair[1], zip(before, after, strict=False)))

    def _layout(self, block: Block) -> Layout:
        assert self._look is not None
        width, _, palette, wide = self._look
        return Layout(block.path, wide if block.kind == "table" else width, palette)

    def _close_growing(self) -> None:
        """What is drawn of a block that has just been completed stays, where it looks the same as the whole block."""
        grown, settled = self._growing, self._stream.reader.settled
        if (
            grown is None
            or not self._fixed
            or self._settled == len(settled)
            or settled[self._settled] is not grown.block
        ):
            return
        lines = grown.closing(self._stream.reader.references)
        if lines is None:
            return
        assert self._look is not None
        _, margin, palette, _ = self._look
        layout = self._layout(grown.block)
        self._replace_from(self._settled + self._fixed)
        self._push([to_strip(line, margin, palette) for line in lines], layout, grown.block, goes_on=True)
        self._stack.merge(self._settled)
        self._gaps.append(self._open_gap)
        self._watch_labels(self._settled, grown.block)
        self._take_colours(self._settled, grown.block, layout)
        self._settled += 1
        self._growing, self._fixed = None, 0

    def _take_colours(self, index: int, block: Block, layout: Layout) -> None:
        """Plans the colours of a settled block of code."""
        assert self._look is not None
        if self._coloured and (job := colouring(block, layout, self._look[2])) is not None:
            strips = self._stack.piece(index)
            code = sum(bool(strip.code) for strip in strips) - 1  # but for the line that names the language
            self._colourings.append((index, len(strips) - self._gaps[index] - code, job))

    def _replace_from(self, piece: int) -> int:
        """Takes the pieces from `piece` on away; the line where what of the last drawing was taken away begins."""
        first = self._stack.top(piece)
        if self._before_at is None or first < self._before_at:
            self._before = [self._stack[line] for line in range(first, self._stack.height)] + self._before
            self._before_at = first
        self._stack.cut(piece)
        return self._before_at

    def _take_definitions(self) -> set[int]:
        """The blocks that look different with the link definitions that came in since they were drawn."""
        references = self._stream.reader.references
        stale: set[int] = set()
        if len(references) > self._references:
            for label in list(references)[self._references :]:
                stale |= self._labels.pop(label, set())
            self._references = len(references)
        return stale

    def _push_settled(self, index: int, drawn: Sequence[TextStrip] | None, lines: Sequence[Line] | None = None) -> None:
        """Draws a settled block, from its `lines` where they are known, or puts what was `drawn` in its new place."""
        assert self._look is not None
        _, margin, palette, _ = self._look
        reader = self._stream.reader
        block = reader.settled[index]
        layout = self._layout(block)
        if drawn is not None:
            strips = list(drawn[self._gaps[index] :])
            self._gaps[index] = self._push(strips, layout, block)
            return
        if lines is None:
            lines = block_lines(block, reader.references, layout, palette)
        strips = [to_strip(line, margin, palette) for line in lines]
        space = self._push(strips, layout, block)
        self._gaps[index : index + 1] = [space]
        self._watch_labels(index, block)
        self._take_colours(index, block, layout)

    def _watch_labels(self, index: int, block: Block) -> None:
        """Remembers which definitions that may still come a settled block would be drawn again for."""
        if block.kind in ("paragraph", "heading", "table") and "[" in block.text:
            for label in labels_of(block.text).difference(self._stream.reader.references):
                self._labels.setdefault(label, set()).add(index)

    def _draw_open(self) -> int:
        """Draws what is not settled; the first line that may differ."""
        assert self._look is not None
        _, margin, palette, _ = self._look
        stream, reader = self._stream, self._stream.reader
        first = self._stack.height
        if reader.open is not None and not stream.as_table:
            block = reader.open
            layout = self._layout(block)
            if self._growing is None:
                if block.kind == "fence":
                    load_ahead(block.info)
                self._growing = growing(block, layout, palette)
            stay, rest, again = self._growing.draw(reader.references, stream.extra, started=stream.started)
            if again:
                first, self._fixed = self._replace_from(self._settled), 0
            for lines in (stay, rest):
                if lines:
                    strips = [to_strip(line, margin, palette) for line in lines]
                    if len(self._stack) > self._settled:
                        self._push(strips, layout, block, goes_on=True)
                    else:
                        self._open_gap = self._push(strips, layout, block)
            self._fixed += bool(stay)
        if stream.ahead is not None:
            layout = self._layout(stream.ahead)
            lines = block_lines(stream.ahead, reader.references, layout, palette)
            self._push([to_strip(line, margin, palette) for line in lines], layout, stream.ahead)
        return first

    def _push(self, strips: list[TextStrip], layout: Layout, block: Block, *, goes_on: bool = False) -> int:
        """Puts a block's strips, or more of them, at the bottom; how many blank lines stand above them."""
        assert self._look is not None
        _, margin, palette, _ = self._look
        space = 0
        if strips and not goes_on and (above := self._lowest()) is not None:
            space, shared = gap(above, block)
            if space:
                strips = [to_strip(layout.blank(shared), margin, palette), *strips]
        start = self._stack.height - (self._before_at or 0)
        for index, old in enumerate(self._before[start : start + len(strips)]):
            if old == strips[index]:  # the same strip keeps what Textual has cached in it
                strips[index] = old
        self._stack.push(strips)
        return space

    def _lowest(self) -> Block | None:
        """The block whose lines stand at the bottom."""
        index = len(self._stack) - 1
        while index >= 0 and not self._stack.piece(index):
            index -= 1
        if index < 0:
            return None
        settled = self._stream.reader.settled
        return settled[index] if index < len(settled) else self._stream.reader.open

    def _colour(self) -> int:
        """Colours some more code; the first line that may differ."""
        assert self._look is not None
        _, margin, palette, _ = self._look
        first, budget = self.height, BUDGET
        while self._colourings and budget > 0:
            index, row, job = self._colourings.pop(0)
            lines, budget = job.lines(budget)
            at = self._gaps[index] + row
            strips = [to_strip(line, margin, palette) for line in lines]
            self._stack.put(index, at, strips)
            first = min(first, self._stack.top(index) + at)
            if not job.done:
                self._colourings.insert(0, (index, row + len(strips), job))
        return first

    def __getitem__(self, line: int) -> TextStrip:
        return self._stack[line]

    def find(self, line: int) -> Place:
        """What stands at `line`, to find it again."""
        if not self.height:
            return Place(self._look, line, 0, 0, 1)
        index = min(self._stack.find(min(line, self.height - 1))[0], self._settled)
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
        settled, end = self._stream.reader.settled, self._stream.reader.open
        if block < len(settled):
            return settled[block].offset
        return end.offset if end is not None else sum(map(len, self._stream.texts))

    def block_at(self, offset: int) -> int:
        """The block whose source holds `offset`."""
        settled, end = self._stream.reader.settled, self._stream.reader.open
        if end is not None and offset >= end.offset:
            return len(settled)
        return max(0, bisect_right(settled, offset, key=lambda block: block.offset) - 1)

    def _span(self, block: int) -> tuple[int, int]:
        """First line of a block and of what follows it; all that is still open counts as one block."""
        end = self._stack.top(block + 1) if block < self._settled else self._stack.height
        return self._stack.top(block), end
