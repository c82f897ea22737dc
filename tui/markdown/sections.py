"""A finished Markdown text cut into sections that can be drawn one by one, without parsing it.

A cut is made only before a line that begins in its first column, stands after a blank line, is no list item and is not
in a code fence: whatever stood open before it ended there, so that sections read as they do in the whole text (but for
link definitions, see `references_of`). What cannot be cut like that and is very long is a section of its own kind.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from tui.markdown.parser import References
from tui.markdown.reader import read

SIZE = 4_000
"""Characters that a section has at least, unless the text ends: a page or two."""
LONGEST = 64_000
"""Characters of the longest section that is still drawn as Markdown in one go."""

Form = Literal["markdown", "code", "closing", "raw"]

_FENCE = re.compile(r"^( {0,3})(`{3,}|~{3,})(.*)\n?", re.MULTILINE)
_CUT = re.compile(r"\n[ \t]*\n(?=\S)(?![-+*](?:\s|$)|\d{1,9}[.)](?:\s|$))")
_DEFINITION = re.compile(r"^[ >\t]*(?:(?:[-+*]|\d{1,9}[.)])[ \t]+)*\[[^\]]+\]:", re.MULTILINE)


class Section(NamedTuple):
    """A piece of the text, drawn by itself.

    "code" are lines of a long fence, whose own first line begins the first of them; "closing" is its last line, of
    which nothing is shown; "raw" is shown as it is written. `joined`: goes on with the section above without a gap.
    """

    text: str
    form: Form = "markdown"
    joined: bool = False


def cut(source: str) -> list[Section]:
    """The sections of `source`, in order: their texts put together are `source`."""
    if len(source) <= 2 * SIZE:
        return [Section(source)]
    sections: list[Section] = []
    start = 0
    safe, long_fences = _safe_points(source)
    while start < len(source):
        at = bisect_left(safe, start + SIZE)
        end = safe[at] if at < len(safe) else len(source)
        if end - start > LONGEST and at and safe[at - 1] > start:
            end = safe[at - 1]  # so that what is too long stands alone
        sections.extend(_whole_or_cut(source, start, end, long_fences))
        start = end
    return sections


def references_of(sections: Sequence[Section]) -> References:
    """The link definitions in all `sections`; only those that may hold one are parsed."""
    known: References = {}
    for section in sections:
        if section.form == "markdown" and _DEFINITION.search(section.text):
            known = read(section.text, known).references
    return known


def _safe_points(source: str) -> tuple[list[int], dict[int, int]]:
    """Where `source` may be cut, and where the code of each long fence ends, by where the fence begins."""
    safe: list[int] = []
    fences: dict[int, int] = {}
    at = 0
    last = 0  # the last safe point
    while at < len(source):
        opening = _next_fence(source, at)
        end = opening.start() if opening else len(source)
        for found in _CUT.finditer(source, max(0, at - 1), min(len(source), end + 1)):
            if at <= found.end() <= end and found.end() < len(source):
                safe.append(found.end())
                last = found.end()
        if opening is None:
            break
        if opening.group(1) and not _is_top_level(source, last, opening.end()):
            at = opening.end()
            continue
        marks = opening.group(2)
        closing = re.compile(rf"^ {{0,3}}{marks[0]}{{{len(marks)},}}[ \t]*$\n?", re.MULTILINE)
        closed = closing.search(source, opening.end())
        at = closed.end() if closed else len(source)
        if opening.start() and opening.start() not in safe[-1:]:
            safe.append(opening.start())
        if at - opening.start() > LONGEST:
            fences[opening.start()] = closed.start() if closed else at
        if closed and at < len(source):
            safe.append(at)
        last = at
    return safe, fences


def _next_fence(source: str, at: int) -> re.Match[str] | None:
    """The next line that may open a fence: one of backticks has none behind them."""
    while (found := _FENCE.search(source, at)) is not None and found.group(2)[0] == "`" and "`" in found.group(3):
        at = found.end()
    return found


def _is_top_level(source: str, start: int, end: int) -> bool:
    """Whether the indented line that ends at `end` opens a fence outside of any list; `start` is a safe point."""
    if end - start > LONGEST:
        return False
    reader = read(source[start:end].removesuffix("\n"), ended=False)
    return reader.open is not None and reader.open.kind == "fence" and not reader.path


def _whole_or_cut(source: str, start: int, end: int, long_fences: dict[int, int]) -> Iterator[Section]:
    if end - start <= LONGEST:
        yield Section(source[start:end])
    elif start in long_fences:
        yield from _sections(source[start : long_fences[start]], "code")
        if long_fences[start] < end:
            yield Section(source[long_fences[start] : end], "closing", joined=True)
    else:
        yield from _sections(source[start:end], "raw")


def _sections(text: str, form: Form) -> Iterator[Section]:
    for number, piece in enumerate(pieces(text)):
        yield Section(piece, form, joined=number > 0)


def pieces(text: str) -> list[str]:
    """`text` cut at ends of lines, and where a line is very long, within it; at least one piece."""
    found: list[str] = []
    start = 0
    while len(text) - start > 2 * SIZE:
        end = text.find("\n", start + SIZE, start + 2 * SIZE) + 1
        end = end or text.rfind(" ", start + SIZE, start + 2 * SIZE) + 1 or start + SIZE
        found.append(text[start:end])
        start = end
    return [*found, text[start:]]
