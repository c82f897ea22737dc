"""Splits a growing Markdown text into blocks that are settled, for good, and an open rest.

A *settled* block's rendering no longer depends on text still to come (but for link definitions, see `generation`).
The rest is parsed again from its start, the last safe point, when text arrives. Two points are safe:

- after a block that ends by itself with a complete line: an ATX heading, a rule, a closed fence;
- at the complete first line of a top-level block that stands after a blank line: the block before it has ended, since
  whatever can go on after a blank line (lists, fences, indented code) would have taken that line. A heading, rule or
  fence needs no blank line before it.

Only blocks at the top level count: what grows inside a list or a quote is part of that list or quote.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tui.markdown.parser import References, parse_blocks

if TYPE_CHECKING:
    from markdown_it.token import Token


class Splitter:
    """Takes text in any pieces; the blocks it gives in the end do not depend on how the text was cut."""

    def __init__(self) -> None:
        self.settled: list[str] = []
        """Source of each settled block, in order; their concatenation with `open` is the text."""
        self.open = ""
        self.references: References = {}
        """Link definitions of the settled blocks."""
        self.generation = 0
        """Grows when a settled block defined a link label: blocks before it may read differently."""
        self.fence_start: int | None = None
        """Where in `open` an unclosed code fence begins that is all it holds; None when `open` is anything else."""
        self._fence_end: re.Pattern[str] | None = None
        self._scanned = 0  # within an open fence: no closing line begins before this index

    def feed(self, text: str) -> None:
        """Appends `text` and settles what has become safe."""
        self.open += text
        if self.fence_start is None or not self._still_fenced():
            self._settle(final=False)

    def finish(self) -> None:
        """Settles everything: no more text comes."""
        self._settle(final=True)

    def _still_fenced(self) -> bool:
        """Looks for the closing line in what is new of an open fence only."""
        assert self._fence_end is not None
        if self._fence_end.search(self.open, self._scanned) is not None:
            return False
        self._scanned = self.open.rfind("\n") + 1
        return True

    def _settle(self, *, final: bool) -> None:
        self.fence_start = None
        if not self.open:
            return
        tokens, known = parse_blocks(_expand(self.open), self.references)
        tops = [token for token in tokens if token.level == 0 and token.nesting >= 0 and token.map is not None]
        lines = self.open.split("\n")
        cuts = _safe_points(tops, lines, final=final)
        before = len(self.settled)
        begin = 0
        for line in cuts:
            self.settled.append("\n".join(lines[begin:line]) + "\n")
            begin = line
        self.open = "\n".join(lines[begin:])
        if final and self.open:
            self.settled.append(self.open)
            self.open = ""
        if len(known) > len(self.references):
            self._learn_references(before)
        self._watch_fence(tops, begin, lines)

    def _learn_references(self, before: int) -> None:
        """Takes over the definitions of the blocks settled just now; those still open may change."""
        for source in self.settled[before:]:
            _, known = parse_blocks(_expand(source), self.references)
            if len(known) > len(self.references):
                self.references = known
                self.generation += 1

    def _watch_fence(self, tops: list[Token], begin: int, lines: list[str]) -> None:
        """Remembers that only a closing line matters from here on, when the rest is one open fence."""
        rest = [top for top in tops if top.map is not None and top.map[0] >= begin]
        if not self.open or len(rest) != 1 or rest[0].type != "fence" or rest[0].map is None:
            return
        first = rest[0].map[0]
        if first + 1 >= len(lines) or any(line.strip(" \t") for line in lines[begin:first]):
            return  # the opening line may still grow, or a link definition stands before it
        markup = rest[0].markup
        self._fence_end = re.compile(rf"^ {{0,3}}{re.escape(markup[0])}{{{len(markup)},}}[ \t]*$", re.MULTILINE)
        self.fence_start = sum(len(line) + 1 for line in lines[begin:first])
        self._scanned = self.open.rfind("\n") + 1


def _expand(source: str) -> str:
    return source.replace("\t", "    ")


def _safe_points(tops: list[Token], lines: list[str], *, final: bool) -> list[int]:
    """Line numbers where the text may be cut, ascending; none at 0."""
    complete = len(lines) if final else len(lines) - 1
    cuts: set[int] = set()
    for top in tops:
        start, end = top.map or (0, 0)
        if 0 < start < complete and (_interrupts(top) or not lines[start - 1].strip(" \t")):
            cuts.add(start)
        if end <= complete and end < len(lines) and _ends_itself(top, lines[end - 1]):
            cuts.add(end)
    return sorted(cuts)


def _interrupts(top: Token) -> bool:
    """Whether `top`'s complete first line ends any block before it, a paragraph too, whatever comes after."""
    return top.type in ("fence", "hr") or (top.type == "heading_open" and top.markup.startswith("#"))


def _ends_itself(top: Token, last_line: str) -> bool:
    """Whether no further line can belong to `top`, whose last line is complete."""
    if top.type == "heading_open":
        return top.markup.startswith("#")
    if top.type == "fence":
        assert top.map is not None
        closing = last_line.strip(" \t")
        return top.map[1] - top.map[0] > 1 and closing.startswith(top.markup) and not closing.strip(top.markup[0])
    return top.type == "hr"
