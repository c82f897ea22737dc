"""Parts of a message: rows that are drawn together once somebody looks at them, and estimated until then.

A part's `height` is `exact` once it was drawn at the present width. Strips can be dropped again to save memory; they
are drawn anew, with the same height, when they are asked for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from tui.markdown.document import Document, Place
from tui.markdown.flow import Run, wrap
from tui.markdown.highlight import is_warm
from tui.markdown.parser import References
from tui.markdown.sanitize import scrub
from tui.markdown.text_strip import EMPTY, TextStrip, to_strip
from tui.transcript.chat_palette import ChatPalette

MARGIN = 2
"""Blank cells (or a bar and a blank) before every message's text."""
READING_WIDTH = 100
"""Text is never wrapped wider than this many cells: longer lines are hard to read. Tables may be wider."""

_SAMPLE = 64_000
"""Characters after which the height of a text is taken to go on as it began."""


class Look(NamedTuple):
    """What a drawing depends on besides the text; `width` in cells."""

    width: int
    palette: ChatPalette

    @property
    def column(self) -> int:
        """The width of the text."""
        return min(READING_WIDTH, self.wide)

    @property
    def wide(self) -> int:
        """The width that a table may take."""
        return max(1, self.width - MARGIN - 1)


@dataclass(frozen=True)
class Mark:
    """A row of a part that can be found again: at `offset` of the body's source, in the drawing that `place` knows."""

    part: Part
    row: int
    offset: int
    place: Place | None = None


class Part(ABC):
    """Some rows of a message."""

    start = 0
    """Where its source begins in the body's."""
    goes_on = False
    """Whether it goes on with the block of the part above."""

    def __init__(self, source: str = "", *, gap: int = 0) -> None:
        """`gap`: blank rows above its text."""
        self._source = source
        self.gap = gap
        self.height = 0
        self.exact = False
        self._look: Look | None = None

    @property
    def source(self) -> str:
        """Its text, scrubbed."""
        return self._source

    @property
    @abstractmethod
    def drawn(self) -> bool:
        """Whether its strips are there."""

    @abstractmethod
    def _draw(self, look: Look) -> int:
        """Makes the strips; how many."""

    @abstractmethod
    def _strip(self, row: int) -> TextStrip:
        """One of them."""

    @abstractmethod
    def drop(self) -> None:
        """Lets go of the strips."""

    def lay(self, look: Look) -> None:
        """Lets go of what was drawn in another look. At another width, the height is an estimate from now on."""
        if look == self._look:
            return
        if self._look is None or look.width != self._look.width:
            self.height, self.exact = self._estimate(look.column), False
        self._look = look
        self.drop()

    def draw(self) -> None:
        """Draws what is not drawn."""
        if not self.drawn and self._look is not None:
            self.height, self.exact = self._draw(self._look), True
            self.height += self.gap if self.height else 0

    def __getitem__(self, row: int) -> TextStrip:
        """The strip of a row; a blank one where even the height is not known yet."""
        if row < self.gap or not self.exact:
            return EMPTY
        self.draw()
        return self._strip(row - self.gap)

    def mark(self, row: int) -> Mark:
        """What stands in `row`."""
        return Mark(self, row, self.start + len(self.source) * row // max(1, self.height))

    def row_of(self, mark: Mark) -> int:
        """The row of `mark`, which may be of a part that held this source before."""
        row = mark.row if mark.part is self and self.exact else self._share(mark)
        return max(0, min(row, self.height - 1))

    def _share(self, mark: Mark) -> int:
        return -(-self.height * (mark.offset - self.start) // max(1, len(self.source)))

    def _estimate(self, column: int) -> int:
        rows = rows_of(self.source, column)
        return rows + self.gap if rows else 0


class MarkdownPart(Part):
    """A section of a finished answer; its code has colours where these are there, which the height does not tell."""

    def __init__(self, source: str, references: Callable[[], References], *, gap: int = 0) -> None:
        """`references` gives the link definitions of the whole answer."""
        super().__init__(source, gap=gap)
        self._references = references
        self._document: Document | None = None

    @property
    def drawn(self) -> bool:
        """Whether its strips are there."""
        return self._document is not None

    def _draw(self, look: Look) -> int:
        document = self._document = Document(self._source, self._references(), coloured=is_warm())
        document.finish()
        document.draw(look.column, look.palette, MARGIN, look.wide)
        while document.unfinished:
            document.draw(look.column, look.palette, MARGIN, look.wide)
        return document.height

    def _strip(self, row: int) -> TextStrip:
        assert self._document is not None
        return self._document[row]

    def drop(self) -> None:
        """Lets go of the strips."""
        self._document = None

    def mark(self, row: int) -> Mark:
        """What stands in `row`."""
        if not self.exact or row < self.gap:
            return super().mark(row)
        self.draw()
        assert self._document is not None
        place = self._document.find(row - self.gap)
        return Mark(self, row, self.start + self._document.offset_of(place.block), place)

    def row_of(self, mark: Mark) -> int:
        """The row of `mark`."""
        if not self.exact or mark.place is None:
            return super().row_of(mark)
        self.draw()
        assert self._document is not None
        return self.gap + _row_in(self._document, mark, self, self.start)


class LivePart(Part):
    """An answer that streams, or did: drawn as it grows."""

    def __init__(self, text: str = "") -> None:
        super().__init__()
        self._document: Document | None = Document(text)
        self.finished = False

    @property
    def source(self) -> str:
        """Its text, scrubbed."""
        return self._source if self._document is None else self._document.source

    @property
    def drawn(self) -> bool:
        """Whether its strips are there."""
        return self.exact and self._document is not None

    @property
    def document(self) -> Document:
        """Its drawing, made anew where it was let go."""
        if self._document is None:
            self._document = Document(self._source)
            self._document.finish()
        return self._document

    def append(self, text: str) -> None:
        """More text; drawn with the next `update`."""
        self.document.append(text)

    def finish(self) -> None:
        """No more text comes."""
        self.document.finish()
        self.finished = True

    def update(self, look: Look) -> int:
        """Draws what is new; the first row that may differ, `height` when none does."""
        if self._document is None and self.exact:
            return self.height
        row = self.document.draw(look.column, look.palette, MARGIN, look.wide)
        self._look, self.height, self.exact = look, self.document.height, True
        return row

    def lay(self, look: Look) -> None:
        """In another look the height is an estimate until the next `update`."""
        if look != self._look:
            self._look, self.exact = look, False
            self.height = self._estimate(look.column)

    def _draw(self, look: Look) -> int:
        self.document.draw(look.column, look.palette, MARGIN, look.wide)
        return self.document.height

    def _strip(self, row: int) -> TextStrip:
        return self.document[row]

    def drop(self) -> None:
        """Lets go of the strips, unless there is more to draw or may come."""
        if self._document is not None and self._document.complete:
            self._source, self._document = self._document.source, None

    def mark(self, row: int) -> Mark:
        """What stands in `row`."""
        self.draw()
        place = self.document.find(row)
        return Mark(self, row, self.document.offset_of(place.block), place)

    def row_of(self, mark: Mark) -> int:
        """The row of `mark`."""
        self.draw()
        return super().row_of(mark) if mark.place is None else _row_in(self.document, mark, self, 0)


class UncutPart(Part):
    """A whole answer that nobody looked at yet: not even scrubbed. It is never drawn, but replaced by its parts."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._scrubbed = False

    @property
    def source(self) -> str:
        """Its text, scrubbed."""
        if not self._scrubbed:
            self._source, self._scrubbed = scrub(self._source), True
        return self._source

    @property
    def drawn(self) -> bool:
        """It never is."""
        return False

    def draw(self) -> None:
        """Not before it is cut."""

    def _estimate(self, column: int) -> int:
        beginning = self._source[:_SAMPLE]
        return rows_of(beginning, column) * len(self._source) // max(1, len(beginning))

    def _draw(self, look: Look) -> int:
        raise NotImplementedError

    def _strip(self, row: int) -> TextStrip:
        raise NotImplementedError

    def drop(self) -> None:
        """There is nothing to let go of."""


class PlainPart(Part):
    """Text that is not Markdown, drawn by a function that is given it."""

    def __init__(self, source: str, draw: Callable[[str, Look], Sequence[TextStrip]], *, gap: int = 0) -> None:
        super().__init__(source, gap=gap)
        self._make = draw
        self._strips: Sequence[TextStrip] | None = None

    @property
    def drawn(self) -> bool:
        """Whether its strips are there."""
        return self._strips is not None

    def _draw(self, look: Look) -> int:
        self._strips = self._make(self._source, look)
        return len(self._strips)

    def _strip(self, row: int) -> TextStrip:
        assert self._strips is not None
        return self._strips[row]

    def drop(self) -> None:
        """Lets go of the strips."""
        self._strips = None


class EdgePart(Part):
    """What stands above or below a message's text; it is given its strips."""

    def __init__(self) -> None:
        super().__init__()
        self.strips: Sequence[TextStrip] = ()

    @property
    def drawn(self) -> bool:
        """Whether its strips are there."""
        return self.exact

    def guess(self, look: Look, height: int) -> None:
        """Takes `height` for its height until it is given its strips for `look`."""
        if look != self._look:
            if self._look is None or look.width != self._look.width:
                self.height = height
            self._look, self.exact = look, False

    def put(self, strips: Sequence[TextStrip]) -> int:
        """Shows `strips`; the first row that differs, `height` when none does."""
        same = self.exact and strips == self.strips
        self.strips, self.height, self.exact = strips, len(strips), True
        return self.height if same else 0

    def _draw(self, look: Look) -> int:
        return len(self.strips)

    def _strip(self, row: int) -> TextStrip:
        return self.strips[row]

    def drop(self) -> None:
        """A few rows are not worth it."""


def strips(runs: Sequence[Run], column: int, palette: ChatPalette) -> list[TextStrip]:
    """`runs` wrapped, behind the margin."""
    return [to_strip(line, MARGIN, palette) for line in wrap(runs, column)]


def rows_of(text: str, column: int) -> int:
    """About how many rows of `column` cells `text` will take."""
    text = text.strip("\n")
    return sum(max(1, -(-len(line) // column)) for line in text.split("\n")) if text else 0


def _row_in(document: Document, mark: Mark, part: Part, start: int) -> int:
    """The row of a mark in a document that holds the source from `start` on."""
    place = mark.place
    assert place is not None
    if mark.part is not part:  # the same block, but the numbers of blocks and rows are another document's
        place = replace(place, look=None, block=document.block_at(max(0, mark.offset - start)))
    return max(0, min(document.locate(place), document.height - 1))
