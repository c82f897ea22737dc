"""Reads Markdown line by line into blocks: each line is looked at once, however long the text before it is.

The block structure of CommonMark 0.31 is defined line by line (https://spec.commonmark.org/0.31.2/#phase-1-block-
structure): a line goes on with the open containers, opens new ones, and adds to the last block or begins another.
`place` says what a line does, and changes nothing; `take` does it. So the line that is still coming in can be shown
as what it would be.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tui.markdown.blocks import Block, Container, Item, Listing, Quote
from tui.markdown.line_starts import (
    BOX,
    DEFINITION,
    FENCE,
    HEADING,
    MARKER,
    RULE,
    UNDERLINE,
    alignments,
    heading_text,
    indent_of,
    skip,
)
from tui.markdown.parser import References, split_definitions

MAX_DEPTH = 40
"""Containers within each other; deeper marks are text."""

_MARKS = " \t-=*_|:~`#"
"""A line of nothing but these may still become a rule, an underline, a table's delimiter row or a fence's end."""


@dataclass(frozen=True)
class Step:
    """What a line does: how many of the open containers go on, which begin, and what becomes of its text."""

    keep: int
    does: Literal["nothing", "add", "close", "underline", "delimit", "begin"]
    text: str = ""
    opens: tuple[Container, ...] = ()
    block: Block | None = None
    """What begins, if it is more than containers."""
    level: int = 0
    align: tuple[str, ...] = ()
    blank: bool = False
    plain: bool = True


class Reader:
    """Takes lines, gives blocks."""

    def __init__(self, references: References | None = None) -> None:
        self.settled: list[Block] = []
        """Blocks that no further line can change, in order."""
        self.open: Block | None = None
        """The block that the next line may go on with."""
        self.path: tuple[Container, ...] = ()
        """The open containers."""
        self.references: References = dict(references or {})
        """Link definitions so far."""
        self.loosened: int | None = None
        """The first settled block of a list that was found to be loose since this was last set to None."""
        self._offset = 0  # of the line that comes next
        self._blank: int | None = None  # after a blank line: how many quotes it belonged to

    # Placing

    def place(self, line: str) -> Step:
        """What `line`, without its end, does after what was taken so far."""
        keep, rest, column = self._continue(line)
        whole, leaf = keep == len(self.path), self.open
        indent = indent_of(rest, column)
        body, _ = skip(rest, column, indent)
        if whole and leaf is not None and leaf.kind == "fence":
            closing = body.rstrip(" \t")
            if indent < 4 and closing.startswith(leaf.fence) and not closing.strip(leaf.fence[0]):
                return Step(keep, "close")
            return Step(keep, "add", skip(rest, column, leaf.indent)[0])
        if whole and leaf is not None and leaf.kind == "code" and (indent >= 4 or not body):
            return Step(keep, "add", skip(rest, column, 4)[0], blank=not body)
        if not body:
            return Step(keep, "nothing", blank=True)
        return self._begin(keep, rest, column)

    def _continue(self, line: str) -> tuple[int, str, int]:
        """How many of the open containers `line` goes on with, what of it is left, and the column where that begins."""
        rest, column = line, 0
        for keep, node in enumerate(self.path):
            indent = indent_of(rest, column)
            body, at = skip(rest, column, indent)
            if isinstance(node, Quote):
                if indent > 3 or not body.startswith(">"):
                    return keep, rest, column
                rest, column = skip(body[1:], at + 1, 1)
            elif body and (node.dead or indent < node.width):
                return keep, rest, column
            else:
                rest, column = skip(rest, column, node.width)
        return len(self.path), rest, column

    def _begin(self, keep: int, rest: str, column: int) -> Step:
        leaf = self.open
        whole = keep == len(self.path)
        opens: list[Container] = []
        while True:
            indent = indent_of(rest, column)
            body, at = skip(rest, column, indent)
            if not body:
                return Step(keep, "begin", opens=tuple(opens))
            continues = not opens and leaf is not None and leaf.kind == "paragraph"
            if indent >= 4:
                if continues:
                    return Step(len(self.path), "add", body, plain=False)
                return self._start(keep, opens, "code", [skip(rest, column, 4)[0]])
            if whole and not opens and leaf is not None and (step := self._restyle(leaf, body)) is not None:
                return step
            if (step := self._single(keep, opens, body, indent)) is not None:
                return step
            deeper = keep + len(opens) < MAX_DEPTH
            if deeper and body.startswith(">"):
                opens.append(Quote())
                rest, column = skip(body[1:], at + 1, 1)
            elif deeper and (found := self._item(keep, opens, body, at, indent)) is not None:
                item, rest, column = found
                opens.append(item)
            elif continues:
                return Step(len(self.path), "add", body, plain=whole)
            elif whole and not opens and leaf is not None and leaf.kind == "table":
                return Step(keep, "add", body)
            else:
                return self._start(keep, opens, "paragraph", [body])

    def _start(self, keep: int, opens: list[Container], kind: Literal["code", "paragraph"], lines: list[str]) -> Step:
        block = Block(kind, (*self.path[:keep], *opens), lines)
        return Step(keep, "begin", opens=tuple(opens), block=block)

    def _restyle(self, leaf: Block, body: str) -> Step | None:
        """A line under a paragraph that makes it a heading, or its last line a table's head."""
        if leaf.kind != "paragraph":
            return None
        if leaf.plain and (align := alignments(leaf.lines[-1], body)):
            return Step(len(self.path), "delimit", align=align)
        if (found := UNDERLINE.match(body)) is not None:
            return Step(len(self.path), "underline", body, level=1 if found.group()[0] == "=" else 2)
        return None

    def _single(self, keep: int, opens: list[Container], body: str, indent: int) -> Step | None:
        """A block that is one line, or a fence's first."""
        path = (*self.path[:keep], *opens)
        if body[0] == "#" and (found := HEADING.match(body)) is not None:
            block = Block("heading", path, [heading_text(body, found)], level=len(found.group(1)))
        elif body[0] in "`~" and (found := FENCE.match(body)) is not None:
            ticks, words, tildes, others = found.groups()
            block = Block("fence", path, info=(words or others or "").strip(), fence=ticks or tildes, indent=indent)
        elif body[0] in "*_-" and RULE.match(body):
            block = Block("rule", path)
        else:
            return None
        return Step(keep, "begin", opens=tuple(opens), block=block)

    def _item(
        self, keep: int, opens: list[Container], body: str, column: int, indent: int
    ) -> tuple[Item, str, int] | None:
        """The list item that `body` begins, and what stands behind its marker."""
        found = MARKER.match(body)
        if found is None or body[found.end() : found.end() + 1] not in ("", " ", "\t"):
            return None
        bullet, number, point = found.groups()
        mark, length = bullet or point, found.end()
        rest, at = body[length:], column + length
        empty = not rest.strip(" \t")
        interrupts = not opens and keep == len(self.path) and self.open is not None and self.open.kind == "paragraph"
        if interrupts and (empty or (number and int(number) != 1)):
            return None
        blanks = indent_of(rest, at)
        blanks = 1 if empty or blanks > 4 else blanks
        rest, at = skip(rest, at, blanks)
        listing = None
        if not opens and keep < len(self.path):
            before = self.path[keep]
            if isinstance(before, Item) and before.listing.mark == mark and (before.number is None) == (not number):
                listing = before.listing
        if listing is None:
            listing = Listing(mark, int(number) if number else None, len(self.settled))
        place = None if listing.start is None else listing.start + listing.count
        item = Item(listing, indent + length + blanks, place)
        if (box := BOX.match(rest)) is not None:
            item.box = box.group()
        return item, "" if empty else rest, at

    # Taking

    def start(self, line: str) -> bool:
        """Takes the beginning of a long line, if no end of it can make it something else; `extend` then goes on."""
        step = self.place(line)
        block = step.block or self.open
        if block is None or block.kind not in ("paragraph", "fence", "code", "table"):
            return False
        text = (
            step.text if step.does == "add" else block.text if step.does == "begin" and step.block is not None else ""
        )
        if not text.strip(_MARKS) or (step.does == "begin" and block.kind == "fence"):
            return False
        self.take(line)
        return True

    def extend(self, text: str) -> None:
        """More of the line that was started."""
        assert self.open is not None
        self.open.lines[-1] += text
        self._offset += len(text)

    def take(self, line: str) -> None:
        """Goes on by one line."""
        step = self.place(line)
        match step.does:
            case "add":
                assert self.open is not None
                self.open.lines.append(step.text)
                self.open.plain = step.plain
            case "close":
                self._settle()
            case "nothing":
                self._settle()
                self._leave(step.keep)
                self._end_of_emptiness()
            case "underline":
                self._underline(step)
            case "delimit":
                self._delimit(step)
            case "begin":
                self._open(step)
        quotes = sum(isinstance(node, Quote) for node in self.path[: step.keep])
        self._blank = quotes if step.blank else None
        self._offset += len(line) + 1

    def close(self) -> None:
        """No more lines come."""
        self._settle()
        self._leave(0)

    def _open(self, step: Step) -> None:
        new = step.opens[0] if step.opens else None
        before = self.path[step.keep] if step.keep < len(self.path) else None
        parent = self.path[step.keep - 1] if step.keep else None
        if self._blank is not None and self._blank <= sum(isinstance(node, Quote) for node in self.path[: step.keep]):
            if isinstance(new, Item) and isinstance(before, Item) and new.listing is before.listing:
                self._loosen(new.listing)
            elif isinstance(parent, Item) and parent.filled:
                self._loosen(parent.listing)
        self._settle()
        self._leave(step.keep)
        self.path = (*self.path, *step.opens)
        for node, child in zip(self.path, (*self.path[1:], step.block), strict=False):
            if isinstance(node, Item) and child is not None:
                node.filled = True
        for node in step.opens:
            if isinstance(node, Item):
                node.listing.count += 1
        if step.block is not None:
            self.open = step.block
            self.open.offset = self._offset
            if step.block.kind in ("heading", "rule"):
                self._settle()

    def _loosen(self, listing: Listing) -> None:
        if not listing.loose:
            listing.loose = True
            self.loosened = listing.first if self.loosened is None else min(listing.first, self.loosened)

    def _underline(self, step: Step) -> None:
        assert self.open is not None
        self._define(self.open)
        if self.open.lines:
            self.open.kind, self.open.level = "heading", step.level
            self._settle()
        else:  # it stood under nothing but definitions
            self.open.lines = [step.text]

    def _delimit(self, step: Step) -> None:
        assert self.open is not None
        head = self.open.lines.pop()
        path = self.open.path
        self._settle()
        self.open = Block("table", path, [head], align=step.align, offset=self._offset - len(head) - 1)

    def _settle(self) -> None:
        """The open block is complete."""
        block, self.open = self.open, None
        if block is None:
            return
        if block.kind == "paragraph":
            self._define(block)
            if not block.lines:
                return
        elif block.kind == "code":
            while not block.lines[-1].strip(" \t"):
                block.lines.pop()
        self._add(block)

    def _add(self, block: Block) -> None:
        self.settled.append(block)
        for node in block.path:
            if isinstance(node, Item) and node.lead is None:
                node.lead = block

    def _define(self, block: Block) -> None:
        """Takes the link definitions out of a paragraph."""
        if block.lines and block.lines[0].startswith("[") and DEFINITION.match(block.text):
            found, block.lines = split_definitions(block.lines)
            for label, target in found.items():
                self.references.setdefault(label, target)

    def _leave(self, keep: int) -> None:
        """Closes all containers but the first `keep`."""
        while len(self.path) > keep:
            node = self.path[-1]
            if isinstance(node, Item) and node.lead is None:
                self._add(Block("empty", self.path, offset=self._offset))
            self.path = self.path[:-1]

    def _end_of_emptiness(self) -> None:
        """An item may begin with one blank line, its marker's own, but not with two."""
        if self.path and isinstance(node := self.path[-1], Item) and not node.filled:
            node.dead = True


def read(source: str, references: References | None = None, *, ended: bool = True) -> Reader:
    """All of `source`, read; `references` are definitions that stand elsewhere."""
    reader = Reader(references)
    for line in source.split("\n"):
        reader.take(line)
    if ended:
        reader.close()
    return reader
