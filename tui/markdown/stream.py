"""Text in any pieces, cut into lines and read into blocks; and what the line that is still coming in looks like."""

from __future__ import annotations

from dataclasses import replace

from tui.markdown.blocks import Block, Item
from tui.markdown.line_starts import cells_of
from tui.markdown.mend import half_line, mend, table_head
from tui.markdown.parser import References
from tui.markdown.reader import Reader, Step

_LONG = 400
"""Characters of an unfinished line from which on it is taken as what it is so far, if it cannot be anything else."""


class Stream:
    """Feeds a `Reader`; the blocks it gives in the end do not depend on how the text was cut."""

    def __init__(self, references: References | None = None) -> None:
        self.reader = Reader(references)
        self.texts: list[str] = []
        """What was fed."""
        self.started = False
        """Whether the last line of the reader's open block may still grow."""
        self.closed = False
        self.extra: str | None = None
        """What the unfinished line adds to the open block, for display."""
        self.ahead: Block | None = None
        """The block that the unfinished line begins, for display."""
        self.as_table = False
        """Whether `ahead` stands for the open block, which is about to become a table."""
        self._line = ""

    def feed(self, text: str) -> None:
        """Adds text."""
        if text:
            self.texts.append(text)
        if self.started:
            more, newline, text = text.partition("\n")
            self.reader.extend(more)
            self.started = not newline
        if not self.started:
            *lines, self._line = (self._line + text).split("\n")
            for line in lines:
                self.reader.take(line)
            if len(self._line) >= _LONG and self.reader.start(self._line):
                self._line, self.started = "", True
        self._foresee()

    def close(self) -> None:
        """No more text comes."""
        if self._line.strip(" \t"):
            self.reader.take(self._line)
        self._line = ""
        self.reader.close()
        self.closed, self.started = True, False
        self._foresee()

    def _foresee(self) -> None:
        """What the unfinished line will probably be."""
        self.extra, self.ahead, self.as_table = None, None, False
        leaf = self.reader.open
        step = self.reader.place(self._line) if self._line else None
        code = leaf is not None and leaf.kind in ("fence", "code")
        if step is not None and not code and half_line(self._line, first=not self.reader.settled and leaf is None):
            step = None
        if step is not None and step.does == "add":
            assert leaf is not None
            mark = leaf.fence[:1] or "|"
            shown = bool(step.text.strip(" \t" + mark)) if code else not half_line(step.text, first=False)
            self.extra = step.text if shown else None
        elif step is not None and step.does == "begin":
            self.ahead = self._begun(step)
            if self.ahead is not None:
                self.ahead.above = leaf
        if leaf is not None and leaf.kind == "paragraph":
            below = [self._line.strip()] if self._line.strip() else []
            self.as_table = table_head([*leaf.lines[:2], *below])
            if self.as_table:
                self.ahead = _table(replace(leaf))
        if self.ahead is None and self.reader.open is None and any(_empty(node) for node in self.reader.path):
            self.ahead = Block("empty", self.reader.path)

    def _begun(self, step: Step) -> Block | None:
        path = (*self.reader.path[: step.keep], *step.opens)
        block = step.block
        if block is None or (block.kind == "paragraph" and half_line(block.lines[0], first=not self.reader.settled)):
            return Block("empty", path) if step.opens else None
        if block.kind == "paragraph" and table_head(block.lines):
            return _table(block)
        if block.kind in ("paragraph", "heading"):
            block.lines = [mend(block.lines[0])]
        return block


def _empty(node: object) -> bool:
    return isinstance(node, Item) and node.lead is None


def _table(block: Block) -> Block:
    """A paragraph drawn as the table whose head it is going to be."""
    head = mend(block.lines[0])
    return replace(block, kind="table", lines=[head], align=("left",) * len(cells_of(head)))
