"""Closes what is still open at the end of a streaming text, for display only, so that it is drawn calmly.

Without this, ``**bold`` shows its stars until the closing ones arrive, a link shows its address, a table starts as a
paragraph of bars, and each then jumps. Pure text to text; a block that is complete is always read as it is.
"""

from __future__ import annotations

import re

from tui.markdown.line_starts import MAX_COLUMNS

_TICKS = re.compile(r"(?<!`)(`+)(?!`)")
_HALF_LINK = re.compile(r"\[([^\[\]\n]+)\]\([^()\s]*\Z")
_MARKS = re.compile(r"(?<![\\*])\*{1,3}(?!\*)|(?<![\\~])~~(?!~)")
_HALF_MARK = re.compile(r"`{1,3}|~{1,3}|#{1,6}|[*_=+-]{1,3}|[*+-] \[?[ xX]?\]?|\[[ xX]?\]?|\|")
_HALF_NUMBER = re.compile(r"\d{1,2}[.)]?")


def half_line(line: str, *, first: bool) -> bool:
    """Whether a last line only begins a heading, list item, rule, fence or table; the `first` may be a number."""
    line = line.strip(" \t")
    return _HALF_MARK.fullmatch(line) is not None or (not first and _HALF_NUMBER.fullmatch(line) is not None)


def table_head(lines: list[str]) -> bool:
    """Whether an unfinished paragraph is a table's head, complete or not; its delimiter row is still to come."""
    head, *below = lines
    return (
        head.startswith("|")
        and head.count("|") <= MAX_COLUMNS
        and len(below) <= 1
        and not set("".join(below)) - set("|:- ")
    )


def mend(text: str) -> str:
    """A block's `text` with open emphasis, code span or link at its end completed, and half a mark left out."""
    masked, ticks = _masked(text)
    if ticks:
        return text.rstrip() + ticks + "".join(reversed(open_marks(masked[: masked.rfind(ticks)])))
    text = _HALF_LINK.sub(r"\1", text)
    masked, _ = _masked(text)
    bare = re.sub(r"[*~`]+\Z", "", masked)
    run = masked[len(bare) :]
    if run:
        marks = open_marks(bare)
        if bare[-1:].isspace() or not bare or (marks and marks[-1][0] == run[0] and len(run) < len(marks[-1])):
            text = text[: len(bare)]  # an opening mark with nothing behind it, or half a closing one
            masked = bare
    return text.rstrip() + "".join(reversed(marks)) if (marks := open_marks(masked)) else text


def split_open(text: str, limit: int) -> tuple[str, str, str]:
    """A long unfinished text cut in two at a blank near `limit`: a first part that can be drawn by itself, what is
    behind it, and the marks that are open there, which the second part is to begin with."""
    at = _break(text, limit)
    body = text[:at]
    masked, ticks = _masked(body)
    if ticks:
        masked = masked[: masked.rfind(ticks)]
    return body, text[at:], "".join(open_marks(masked)) + ticks


def _break(text: str, limit: int) -> int:
    """Behind a blank before `limit`, outside of brackets if possible."""
    best, depth = 0, 0
    fallback = 0
    for at, char in enumerate(text[:limit]):
        if char == "[":
            depth += 1
        elif char == "]" and depth:
            depth -= 1
        elif char in " \n" and not text[at + 1].isspace():
            fallback = at + 1
            if not depth:
                best = at + 1
    return (best if best > limit // 2 else fallback) or limit


def open_marks(masked: str) -> list[str]:
    """The emphasis marks without their counterpart, outermost first, in a text without code spans."""
    found: list[str] = []
    for match in _MARKS.finditer(masked):
        mark = match.group()
        before, after = masked[max(0, match.start() - 1) : match.start()], masked[match.end() : match.end() + 1]
        if found and found[-1] == mark and before and not before.isspace():
            found.pop()
        elif after and not after.isspace():
            found.append(mark)
    return found


def _masked(text: str) -> tuple[str, str]:
    """`text` with its code spans blanked out, and the backticks of one that is still open ("" when none has text)."""
    pieces: list[str] = []
    at = 0
    while (opening := _TICKS.search(text, at)) is not None:
        ticks = opening.group()
        closing = next((found for found in _TICKS.finditer(text, opening.end()) if found.group() == ticks), None)
        if closing is None:
            return "".join([*pieces, text[at:]]), ticks if text[opening.end() :].strip("` ") else ""
        pieces.append(text[at : opening.start()] + "x" * (closing.end() - opening.start()))
        at = closing.end()
    return "".join([*pieces, text[at:]]), ""
