"""Closes what is still open at the end of a streaming text, for display only, so that it is drawn calmly.

Without this, ``**bold`` shows its stars until the closing ones arrive, a link shows its address, a table starts as a
paragraph of bars, and each then jumps. Pure text to text; the finished text is always parsed as it is.
"""

from __future__ import annotations

import re

_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})", re.MULTILINE)
_TICKS = re.compile(r"(?<!`)(`+)(?!`)")
_HALF_LINK = re.compile(r"\[([^\[\]\n]+)\]\([^()\s]*\Z")
_MARKS = re.compile(r"(?<![\\*])\*{1,3}(?!\*)|(?<![\\~])~~(?!~)")
_HALF_MARK = re.compile(r"`{1,3}|~{1,3}|#{1,6}|[*_=+-]{1,3}|[*+-] \[?[ xX]?\]?|\|")
_HALF_NUMBER = re.compile(r"\d{1,2}[.)]?")


def mend(text: str) -> str:
    """`text` with open emphasis, code span, link or table head at its end completed, and half a mark left out."""
    if _FENCE.search(text):
        return text
    head, gap, last = text.rpartition("\n\n")
    last = _without_half_line(last)
    return head + gap + (_with_table_head(last) or _with_marks_closed(last))


def _without_half_line(text: str) -> str:
    """Leaves out a last line that only begins a heading, list item, rule, fence or table."""
    before, newline, line = text.rpartition("\n")
    line = line.strip(" ")
    if _HALF_MARK.fullmatch(line) or (before and _HALF_NUMBER.fullmatch(line)):
        return before + newline
    return text


def _with_table_head(text: str) -> str | None:
    """A table's first row, complete or not, as a table at once; its delimiter row is still to come."""
    head, newline, delimiter = text.partition("\n")
    if not head.lstrip(" ").startswith("|") or set(delimiter.strip()) - set("|:- "):
        return None
    if newline and delimiter.count("-") >= delimiter.count("|") - 1 > head.rstrip().strip("|").count("|"):
        return None  # the delimiter row is complete: the parser knows the table
    head = head.rstrip()
    if not head.endswith("|"):
        head += " |"
    columns = head.strip().removeprefix("|").count("|")
    return head + "\n" + "|---" * columns + "|"


def _with_marks_closed(text: str) -> str:
    masked, ticks = _masked(text)
    if ticks:
        return text + ticks
    text = _HALF_LINK.sub(r"\1", text)
    masked, _ = _masked(text)
    bare = re.sub(r"[*~`]+\Z", "", masked)
    run = masked[len(bare) :]
    if run:
        marks = _open_marks(bare)
        if bare[-1:].isspace() or not bare or (marks and marks[-1][0] == run[0] and len(run) < len(marks[-1])):
            text = text[: len(bare)]  # an opening mark with nothing behind it, or half a closing one
            masked = bare
    return text.rstrip() + "".join(reversed(marks)) if (marks := _open_marks(masked)) else text


def _open_marks(masked: str) -> list[str]:
    """The emphasis marks without their counterpart, outermost first."""
    found: list[str] = []
    for match in _MARKS.finditer(masked):
        mark = match.group()
        before, after = masked[: match.start()][-1:], masked[match.end() :][:1]
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
