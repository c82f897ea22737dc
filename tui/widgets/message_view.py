"""One message of the transcript: what is known about it, and its lines at a width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from backends.events import Citation
from tui.markdown.document import Document, Place
from tui.markdown.flow import Line, Run, pad, width_of, wrap
from tui.markdown.inline import cited
from tui.markdown.palette import Palette
from tui.markdown.sanitize import hold, sanitize, scrub
from tui.markdown.text_strip import EMPTY, Border, TextStrip, to_strip
from tui.widgets.chat_palette import ChatPalette

Kind = Literal["user", "assistant", "error", "notice"]
Ending = Literal["complete", "truncated", "cancelled", "interrupted", "failed"]

MARGIN = 2
"""Blank cells (or a bar and a blank) before every message's text."""
READING_WIDTH = 100
"""Text is never wrapped wider than this many cells: longer lines are hard to read."""

_ENDINGS = {
    "truncated": "⋯ cut off at the length limit",
    "cancelled": "■ cancelled",
    "interrupted": "⚡ interrupted: the connection was lost before the end",
    "failed": "✗ failed",
}
_REASONING_ROWS = 6
_SKELETON = (0.7, 0.8, 0.4)
"""Lengths of the lines that stand for an answer still to come, as shares of the column."""


@dataclass(frozen=True)
class Edge:
    """A row of a message that is not in its Markdown: counted from its top, or from where its `tail` begins."""

    row: int
    tail: bool = False


@dataclass(eq=False)
class MessageView:
    """State and drawing of one message. `draw` brings lines up to date; `line` gives one of `height`."""

    key: str
    kind: Kind
    title: str = ""
    first: bool = False
    body: Document = field(default_factory=Document)
    waiting: str | None = None
    note: str | None = None
    ending: Ending | None = None
    citations: Sequence[Citation] = ()
    selected_chip: int | None = None
    streaming: bool = False
    reasoning_open: bool = False
    tick: int = 0
    _next_body: Document | None = (
        None  # takes the body's place with the next drawing: until then lines are the old ones
    )
    _floor: int = 0
    _reasoning_drawing: tuple[int, bool, bool, int, ChatPalette] | None = None
    _reasoning_strips: list[TextStrip] = field(default_factory=list)
    _reasoning: list[str] = field(default_factory=list)
    _held: str = ""
    _plain: list[str] = field(default_factory=list)
    _head: list[TextStrip] = field(default_factory=list)
    _middle: list[TextStrip] = field(default_factory=list)
    _tail: list[TextStrip] = field(default_factory=list)
    _drawn: tuple[int, ChatPalette] | None = None
    _stale: bool = True
    _cursor: int | None = None  # the line that the cursor was drawn on

    @property
    def source(self) -> str:
        """The text, scrubbed."""
        return self._document.source if self.kind == "assistant" else scrub("".join(self._plain))

    @property
    def _document(self) -> Document:
        return self._next_body or self.body

    @property
    def _has_text(self) -> bool:
        return bool(self.body.height if self.kind == "assistant" else any(self._plain))

    @property
    def reasoning(self) -> str:
        """The thinking text, scrubbed."""
        return scrub("".join(self._reasoning))

    @property
    def height(self) -> int:
        """Lines as last drawn, the blank one above included."""
        return len(self._head) + self._body_height + len(self._tail)

    def append(self, text: str) -> None:
        """Adds text at the end; a finished message goes on."""
        if self.kind == "assistant":
            if self._document.finished:
                self._next_body = Document(self._document.source)
                self.streaming, self.ending = True, None
            self._document.append(text)
        else:
            self._plain.append(text)
        self._stale = True

    def append_reasoning(self, text: str) -> None:
        """Adds thinking text."""
        ready, self._held = hold(self._held + text)
        self._reasoning.append(ready)
        self._stale = True

    def replace(self, text: str) -> None:
        """Starts the text over."""
        self._next_body = Document()
        self._plain.clear()
        self.append(text)
        if not self.streaming:
            self.finish(self.ending)

    def finish(self, ending: Ending | None) -> None:
        """No more text comes, and nothing is waited for."""
        self._document.finish()
        self.streaming, self.waiting, self.ending = False, None, ending
        self._stale = True

    def touch(self) -> None:
        """Something but the text changed: draw what stands around it again."""
        self._stale = True

    def draw(self, width: int, palette: ChatPalette) -> int:
        """Brings the lines up to date; the first one that may differ from before, `height` when none does."""
        fresh = self._drawn != (width, palette)
        self._drawn = (width, palette)
        column = max(1, min(READING_WIDTH, width - MARGIN - 1))
        if self._next_body is not None:
            self.body, self._next_body = self._next_body, None
        body_change = self.body.draw(column, palette, MARGIN) if self.kind == "assistant" else 0
        if not (fresh or self._stale):
            return self.height
        self._stale = False
        head, tail = self._draw_head(column, palette), self._draw_tail(column, palette)
        middle = self._draw_plain(width, column, palette) if self.kind != "assistant" else []
        changed = 0
        if not fresh and head == self._head:
            changed = len(head) + (body_change if self.kind == "assistant" else 0)
        cursor = len(head) + self.body.height - 1 if self.streaming else None
        if self._cursor is not None and self._cursor != cursor:
            changed = min(changed, self._cursor)  # it left this line, which may be the same otherwise
        self._cursor = cursor
        self._head, self._middle, self._tail = head, middle, tail
        return changed

    def line(self, row: int) -> Strip:
        """The strip of line `row`."""
        strip = self.text_line(row)
        if self.streaming and row in self.body_rows[-1:] and self._drawn is not None:
            return _with_cursor(strip, self._drawn[1].cursor)
        return strip

    def text_line(self, row: int) -> TextStrip:
        """Line `row` without the cursor."""
        if row < len(self._head):
            return self._head[row]
        row -= len(self._head)
        if row < self._body_height:
            return self.body[row] if self.kind == "assistant" else self._middle[row]
        return self._tail[row - self._body_height]

    @property
    def body_rows(self) -> range:
        """The rows that show the text."""
        return range(len(self._head), len(self._head) + self._body_height)

    @property
    def _body_height(self) -> int:
        return self.body.height if self.kind == "assistant" else len(self._middle)

    def place(self, row: int) -> Place | Edge:
        """What stands at `row`, for `row_of` to find again after a change of width or of what is above it."""
        below = row - len(self._head)
        if self.kind != "assistant" or below < 0:
            return Edge(row)
        if below >= self.body.height:
            return Edge(below - self.body.height, tail=True)
        return self.body.find(below)

    def row_of(self, place: Place | Edge) -> int:
        """The row that shows what `place` named."""
        if isinstance(place, Place):
            return len(self._head) + self.body.locate(place)
        start = len(self._head) + self.body.height if place.tail else 0
        return min(start + place.row, max(0, self.height - 1))

    def _draw_head(self, column: int, palette: ChatPalette) -> list[TextStrip]:
        head = [] if self.first else [EMPTY]
        if self.kind == "assistant" and self.title:
            head.append(_strips([(sanitize(self.title), palette.title)], column, palette)[0])
        if self._reasoning:
            head.extend(self._draw_reasoning(column, palette))
        return head

    def _draw_reasoning(self, column: int, palette: ChatPalette) -> list[TextStrip]:
        answering = bool(self.body.height) or not self.streaming
        drawing = (len(self._reasoning), answering, self.reasoning_open, column, palette)
        if drawing != self._reasoning_drawing:
            self._reasoning_drawing = drawing
            self._reasoning_strips = self._wrap_reasoning(answering, column, palette)
        return [*self._reasoning_strips, EMPTY] if self.body.height else self._reasoning_strips

    def _wrap_reasoning(self, answering: bool, column: int, palette: ChatPalette) -> list[TextStrip]:
        text = self.reasoning.replace("\t", "    ").strip()
        toggle = Style.from_meta({"reasoning": self.key})
        sign = "▾" if self.reasoning_open or not answering else "▸"
        words = f"{len(text.split()):,} words"
        label = f"{sign} Thought, {words}" if answering else f"{sign} Thinking, {words}"
        strips = _strips([(label, palette.reasoning + toggle)], column, palette)
        if self.reasoning_open or not answering:
            bar = Border("│ ", palette.rule)
            if not self.reasoning_open:  # only the end is shown: wrap no more than that
                text = text[-2 * _REASONING_ROWS * column :]
            lines = wrap([(text, palette.reasoning)], column - 2)
            shown = lines if self.reasoning_open else lines[-_REASONING_ROWS:]
            strips.extend(to_strip([bar, *line], MARGIN, palette) for line in shown)
        return strips

    def _draw_plain(self, width: int, column: int, palette: ChatPalette) -> list[TextStrip]:
        text = sanitize("".join(self._plain)).strip("\n")
        if self.kind == "notice":
            return _strips([(text, palette.notice)], column, palette)
        if self.kind == "error":
            runs: list[Run] = [(sanitize(self.title or "Error") + "\n", palette.error_title), (text, palette.error)]
            bar = Border("▌ ", palette.error_bar)
            return [to_strip([bar, *line], 0, palette) for line in wrap(runs, column)]
        bar = Border("▌ ", palette.user_bar)
        inner = min(width, MARGIN + READING_WIDTH + 1)
        lines = wrap([(text, palette.user)], column)
        return [to_strip(pad([bar, *line], inner, palette.user), 0, palette) for line in lines]

    def _draw_tail(self, column: int, palette: ChatPalette) -> list[TextStrip]:
        tail: list[TextStrip] = []
        if self.waiting is not None:
            tail.extend(self._draw_waiting(column, palette))
        if self.ending in _ENDINGS:
            tail.extend(_strips([(_ENDINGS[self.ending], palette.ending)], column, palette))
        if self.citations:
            tail.extend(self._draw_chips(column, palette))
        if self.note:
            tail.extend(_strips([(sanitize(self.note), palette.note)], column, palette))
        if tail and self._has_text:
            tail.insert(0, EMPTY)
        if self.streaming:  # the answer begins where the skeleton was: nothing above it moves
            tail.extend([EMPTY] * (self._floor - self.body.height - len(tail)))
        return tail

    def _draw_waiting(self, column: int, palette: ChatPalette) -> list[TextStrip]:
        at = self.tick % 4
        dots = "".join("●" if index == at else "·" for index in range(3))
        runs = [(dots + "  ", palette.cursor), (sanitize(self.waiting or ""), palette.waiting)]
        strips = _strips(runs, column, palette)
        if not self._has_text:  # where the answer will stand
            lit = self.tick % (len(_SKELETON) + 2)
            for index, share in enumerate(_SKELETON):
                style = palette.skeleton_lit if index == lit else palette.skeleton
                strips.append(to_strip([Border("━" * int(column * share), style)], MARGIN, palette))
        self._floor = max(self._floor, len(strips))
        return strips

    def _draw_chips(self, column: int, palette: ChatPalette) -> list[TextStrip]:
        lines: list[Line] = [[Segment("Sources  ", palette.note)]]
        for index, citation in enumerate(self.citations):
            mark = sanitize(citation.id)
            title = sanitize(citation.title or citation.source).replace("\n", " ")
            style = palette.chip_selected if index == self.selected_chip else palette.chip
            chip = wrap([(f"[{mark}] {title}", style + cited(mark))], column)[0]
            if width_of(lines[-1]) + width_of(chip) > column and lines[-1]:
                lines.append([])
            lines[-1].extend([*chip, Segment("  ", palette.text)])
        return [to_strip(line, MARGIN, palette) for line in lines]


def _strips(runs: Sequence[Run], column: int, palette: Palette) -> list[TextStrip]:
    return [to_strip(line, MARGIN, palette) for line in wrap(runs, column)]


def _with_cursor(strip: Strip, style: Style) -> Strip:
    """`strip` with a block right behind its text, over the blanks there if any."""
    at = max(MARGIN, cell_len(strip.text.rstrip()))
    return Strip.join([strip.crop(0, at), Strip([Segment("█", style)], 1), strip.crop(at + 1)])
