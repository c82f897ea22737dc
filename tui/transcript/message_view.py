"""One message of the transcript: what is known about it, and its rows in a look."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from backends.events import Citation
from tui.markdown.sanitize import sanitize, scrub
from tui.markdown.sections import pieces
from tui.markdown.text_strip import EMPTY, TextStrip
from tui.transcript.message_head import Kind, Version, thought_row, title_rows
from tui.transcript.message_part import MARGIN, EdgePart, LivePart, Look, Mark, Part, PlainPart, UncutPart
from tui.transcript.message_tail import MARKED, Ending, chip_rows, ending_rows, note_rows, waiting_rows
from tui.transcript.plain_rows import plain_rows
from tui.transcript.stored_parts import stored_parts
from tui.transcript.thought_part import Shown, ThoughtPart

Note = str | Callable[[], str | None] | None
"""A line under a message, or what makes it when it is first drawn."""


@dataclass(frozen=True)
class Edge:
    """A row of a message that is not in its text: counted from its top, or from where its `tail` begins."""

    row: int
    tail: bool = False


@dataclass(eq=False)
class MessageView:
    """State and drawing of one message: a head, the parts of its text and a tail.

    `draw` brings up to date what is drawn already and all that streams; `realize` draws what is looked at for the first
    time. Until then heights are estimates, and rows are blank.
    """

    key: str
    kind: Kind
    title: str = ""
    version: Version | None = None
    first: bool = False
    waiting: str | None = None
    note: Note = None
    ending: Ending | None = None
    citations: Sequence[Citation] = ()
    selected_chip: int | None = None
    streaming: bool = False
    reasoning_open: bool = False
    tick: int = 0
    _body: Sequence[Part] = ()
    _next_body: Sequence[Part] | None = None  # takes the body's place with the next drawing: until then rows stay
    _live: LivePart | None = None  # where streamed text goes
    _floor: int = 0
    _thought: ThoughtPart | None = None
    _plain: list[str] = field(default_factory=list)
    _head: EdgePart = field(default_factory=EdgePart)
    _tail: EdgePart = field(default_factory=EdgePart)
    _tops: list[int] = field(default_factory=lambda: [0])
    _look: Look | None = None
    _stale: bool = True
    _cursor: int | None = None  # the row that the cursor was drawn on

    @property
    def source(self) -> str:
        """The text, scrubbed."""
        if self.kind != "assistant":
            return scrub("".join(self._plain))
        return "".join(part.source for part in self._newest_body)

    @property
    def _newest_body(self) -> Sequence[Part]:
        return self._body if self._next_body is None else self._next_body

    @property
    def has_text(self) -> bool:
        """Whether any of its text is drawn."""
        return self._body_height > 0

    @property
    def has_thought(self) -> bool:
        """Whether there was any thinking."""
        return self._thought is not None

    @property
    def reasoning(self) -> str:
        """The thinking text, scrubbed."""
        return "" if self._thought is None else self._thought.text

    @property
    def height(self) -> int:
        """Rows as drawn or estimated, the blank one above included."""
        return self._tops[-1]

    @property
    def parts(self) -> Sequence[Part]:
        """From top to bottom."""
        return (*self._above, *self._body, self._tail)

    @property
    def _above(self) -> Sequence[Part]:
        return (self._head,) if self._thought is None else (self._head, self._thought)

    @property
    def blocks(self) -> list[list[Part]]:
        """The parts of the body; those that share a block together."""
        found: list[list[Part]] = []
        for part in self._body:
            if part.goes_on and found:
                found[-1].append(part)
            else:
                found.append([part])
        return found

    @property
    def uncut(self) -> Part | None:
        """The one part of a text that nobody looked at yet; drawing it makes it the parts that it consists of."""
        return next((part for part in self._body if isinstance(part, UncutPart)), None)

    @property
    def seen(self) -> bool:
        """Whether any of it was drawn as it stands now, or has to be because it grows."""
        return self.streaming or self._head.exact

    @property
    def unfinished(self) -> bool:
        """Whether there is more to draw though nothing came in."""
        return any(isinstance(part, LivePart) and part.drawn and part.document.unfinished for part in self._body)

    def append(self, text: str) -> None:
        """Adds text at the end; a finished message goes on."""
        self._stale = True
        if self.kind != "assistant":
            self._plain.append(text)
            shown, draw = sanitize("".join(self._plain)).strip("\n"), plain_rows(self.kind)
            self._next_body = [PlainPart(piece, draw) for piece in pieces(shown)]
            return
        if self._live is None:
            going_on = bool(self._newest_body)
            self._live = LivePart(self.source)
            self._next_body = [self._live]
            if going_on:
                self.streaming, self.ending = True, None
        self._live.append(text)

    def put(self, text: str) -> None:
        """A text that is complete; nothing is done about it before somebody looks."""
        if self.kind == "assistant" and text:
            self._next_body = [UncutPart(text)]
        else:
            self.append(text)
        self.finish(None)

    def append_reasoning(self, text: str) -> None:
        """Adds thinking text."""
        if self._thought is None:
            self._thought = ThoughtPart()
            self._measure()  # one part more, of no rows yet: whoever looks before the next drawing must find the others
        self._thought.append(text)
        self._stale = True

    def replace(self, text: str) -> None:
        """Starts the text over."""
        self._plain.clear()
        if self.kind == "assistant":
            self._live = LivePart()
            self._next_body = [self._live]
        self.append(text)
        if not self.streaming:
            self.finish(self.ending)

    def finish(self, ending: Ending | None) -> None:
        """No more text comes, and nothing is waited for."""
        if (live := self._live) is not None:
            live.finish()
            self._live = None
            if not live.drawn:
                self._next_body = stored_parts(live.source)
        if self._thought is not None:
            self._thought.finished = True
        self.streaming, self.waiting, self.ending = False, None, ending
        self._stale = True

    def touch(self) -> None:
        """Something but the text changed: draw what stands around it again."""
        self._stale = True

    # Drawing

    def lay(self, look: Look) -> None:
        """Estimates, for `look`, the heights of all that was not drawn in it."""
        if self._next_body is None and self._live is None and look != self._look and _was_live(self._body):
            self._next_body = stored_parts(self.source)
        self._look = look
        self._take_next_body()
        for part in self._body:
            part.lay(look)
        if (thought := self._thought) is not None:
            thought.lay(look)
        titled = (self.kind == "assistant" and bool(self.title)) or self.version is not None
        self._head.guess(look, (not self.first) + titled + (thought is not None))
        below = (self.ending in MARKED) + bool(self.citations) + bool(self.note) + (self.waiting is not None)
        self._tail.guess(look, below + bool(below and self._newest_body))
        self._measure()

    def draw(self, look: Look) -> int:
        """Brings the rows up to date; the first one that may differ from before, `height` when none does."""
        fresh = look != self._look or not self._head.exact
        if fresh or self._next_body is not None:
            before = self._body
            self.lay(look)
            fresh = fresh or before is not self._body
        row = self._live_row(look)
        if not (fresh or self._stale):
            return self.height
        self._stale = self.unfinished
        thought = self._update_thought(look)
        changed = self._head.put(self._draw_head(look))
        if changed == self._head.height:
            changed = changed + thought if thought is not None else self.body_rows.start + row
        self._tail.put(self._draw_tail(look))
        self._measure()
        cursor = self.body_rows.stop - 1 if self.streaming else None
        if self._cursor is not None and self._cursor != cursor:
            changed = min(changed, self._cursor)  # it left this row, which may be the same otherwise
        self._cursor = cursor
        return 0 if fresh else changed

    def realize(self, part: Part, look: Look) -> None:
        """Draws one of its parts, whose height becomes exact by that."""
        self.draw(look)
        if isinstance(part, UncutPart):
            self._next_body = stored_parts(part.source)
            self.lay(look)
        part.draw()
        self._measure()

    def drop(self, keep: range) -> None:
        """Lets go of what is drawn outside of the rows in `keep`."""
        for part, top in zip(self.parts, self._tops, strict=False):
            if part.drawn and (top + part.height <= keep.start or top >= keep.stop):
                part.drop()

    def _live_row(self, look: Look) -> int:
        """Draws what has streamed in; the first row of the body that may differ."""
        top = 0
        row = self._body_height
        for part in self._body:
            if isinstance(part, LivePart):
                row = min(row, top + part.update(look))
            top += part.height
        return row

    def _take_next_body(self) -> None:
        if self._next_body is not None:
            self._body, self._next_body = self._next_body, None
            start = 0
            for part in self._body:
                part.start = start
                start += len(part.source)

    def _measure(self) -> None:
        self._tops = [0, *accumulate(part.height for part in self.parts)]

    # Rows

    def line(self, row: int) -> Strip:
        """The strip of `row`."""
        strip = self.text_line(row)
        if self.streaming and row in self.body_rows[-1:] and self._look is not None:
            return _with_cursor(strip, self._look.palette.cursor)
        return strip

    def text_line(self, row: int) -> TextStrip:
        """`row` without the cursor."""
        part, within = self.find(row)
        return part[within]

    def find(self, row: int) -> tuple[Part, int]:
        """The part that holds `row`, and the row within it."""
        index = max(0, min(bisect_right(self._tops, row), len(self._tops) - 1) - 1)
        return self.parts[index], row - self._tops[index]

    def top(self, part: Part) -> int:
        """The first row of one of its parts."""
        return self._tops[self.parts.index(part)]

    @property
    def body_rows(self) -> range:
        """The rows that show the text."""
        start = sum(part.height for part in self._above)
        return range(start, start + self._body_height)

    @property
    def _body_height(self) -> int:
        return sum(part.height for part in self._body)

    def place(self, row: int) -> Mark | Edge:
        """What stands at `row`, for `row_of` to find again after a change of width or of what is above it."""
        part, within = self.find(row)
        if part is self._head or part is self._tail:
            return Edge(within, tail=part is self._tail)
        return part.mark(within)

    def row_of(self, place: Mark | Edge) -> int:
        """The row that shows what `place` named."""
        if isinstance(place, Edge):
            start = self.body_rows.stop if place.tail else 0
            return min(start + place.row, max(0, self.height - 1))
        part = place.part if place.part in self._body or place.part is self._thought else self._holding(place.offset)
        return self.height if part is None else self.top(part) + part.row_of(place)

    def _holding(self, offset: int) -> Part | None:
        """The part of the body whose source holds `offset`."""
        index = bisect_right(self._body, offset, key=lambda part: part.start) - 1
        return self._body[max(0, index)] if self._body else None

    # What the rows show

    def _draw_head(self, look: Look) -> list[TextStrip]:
        head = [] if self.first else [EMPTY]
        head.extend(title_rows(self.kind, self.title, self.version, look))
        if (thought := self._thought) is not None and thought.take():
            thinking, unfolded = self._thinking, self._shown_thought != "nothing"
            head.extend(thought_row(self.key, thought.words, look, thinking=thinking, unfolded=unfolded))
        return head

    @property
    def _thinking(self) -> bool:
        return self.streaming and not self.has_text

    @property
    def _shown_thought(self) -> Shown:
        if self.reasoning_open:
            return "all"
        return "end" if self._thinking else "nothing"

    def _update_thought(self, look: Look) -> int | None:
        """Draws the thinking text; the first row that may differ, None when none does."""
        if (thought := self._thought) is None:
            return None
        before = thought.height
        row = thought.update(look, self._shown_thought, below=int(self.has_text))
        return None if row == thought.height == before else row

    def _draw_tail(self, look: Look) -> list[TextStrip]:
        tail: list[TextStrip] = []
        if self.waiting is not None:
            tail.extend(waiting_rows(self.waiting, self.tick, look, skeleton=not self.has_text))
            self._floor = max(self._floor, len(tail))
        tail.extend(ending_rows(self.ending, look))
        tail.extend(chip_rows(self.citations, self.selected_chip, look))
        if callable(self.note):
            self.note = self.note()
        tail.extend(note_rows(self.note, look))
        if tail and self.has_text:
            tail.insert(0, EMPTY)
        if self.streaming:  # the answer begins where the skeleton was: nothing above it moves
            tail.extend([EMPTY] * (self._floor - self._body_height - len(tail)))
        return tail


def _was_live(body: Sequence[Part]) -> bool:
    return len(body) == 1 and isinstance(body[0], LivePart) and body[0].finished


def _with_cursor(strip: Strip, style: Style) -> Strip:
    """`strip` with a block right behind its text, over the blanks there if any."""
    at = max(MARGIN, cell_len(strip.text.rstrip()))
    return Strip.join([strip.crop(0, at), Strip([Segment("█", style)], 1), strip.crop(at + 1)])
