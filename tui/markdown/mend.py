"""Closes what is still open at the end of a streaming text, for display only, so that it is drawn calmly.

Without this, ``**bold`` shows its stars until the closing ones arrive, a link shows its address, a table starts as a
paragraph of bars, and each then jumps. Pure text to text; the finished text is always parsed as it is.
"""

from __future__ import annotations

import re

_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})", re.MULTILINE)
_CODE = re.compile(r"(?<!`)(`+)(?!`)")
_HALF_LINK = re.compile(r"\[([^\[\]\n]+)\]\([^()\s]*$")
_MARKS = re.compile(r"(?<![\\*])(\*{1,3})(?!\*)|(?<!\\)(~~)")
_TABLE_HEAD = re.compile(r"^ {0,3}\|.*\|[ \t]*(\n[ \t]*\|?[ \t:|-]*)?$")


def mend(text: str) -> str:
    """`text` with open emphasis, code span, link, table head or fence mark at its end completed or left out."""
    if _FENCE.search(text):
        return text
    head, gap, last = text.rpartition("\n\n")
    return head + gap + _mend_table(_mend_inline(_drop_half_marks(last)))


def _drop_half_marks(text: str) -> str:
    """Leaves out a last line that is only the beginning of a fence, heading, rule or list marker."""
    before, newline, line = text.rpartition("\n")
    if re.fullmatch(r" {0,3}(`{1,2}|~{1,2}|#{1,6}|[-*+=_]{1,2}|\d{1,2}[.)]?) ?", line) and (
        before or line[-1:] in "`~#"
    ):
        return before + newline
    return text


def _mend_inline(text: str) -> str:
    lead = text.rpartition("\n")[2]
    if text.endswith(("*", "~", "`", "_")) and lead.strip("*~`_ "):
        trimmed = text.rstrip("*~`_")
        if trimmed[-1:].isspace():  # an opening mark with nothing behind it yet
            text = trimmed
    masked, ticks = _mask_code(text)
    if ticks:
        return text.rstrip("`") + ticks if text.rstrip("`") != text and not masked.rstrip() else text + ticks
    text = _HALF_LINK.sub(r"\1", text)
    open_marks: list[str] = []
    for match in _MARKS.finditer(masked):
        mark = match.group()
        after = masked[match.end() : match.end() + 1]
        before = masked[match.start() - 1 : match.start()]
        if open_marks and open_marks[-1] == mark and before and not before.isspace():
            open_marks.pop()
        elif after and not after.isspace():
            open_marks.append(mark)
    stripped = text.rstrip()
    return stripped + "".join(reversed(open_marks)) if open_marks else text


def _mask_code(text: str) -> tuple[str, str]:
    """`text` with its code spans blanked out, and the backticks of one that is still open."""
    pieces: list[str] = []
    at = 0
    while (opening := _CODE.search(text, at)) is not None:
        ticks = opening.group()
        closing = next((m for m in _CODE.finditer(text, opening.end()) if m.group() == ticks), None)
        if closing is None:
            return "".join(pieces), ticks if text[opening.end() :].strip() else ""
        pieces.append(text[at : opening.start()] + "x" * (closing.end() - opening.start()))
        at = closing.end()
    return "".join([*pieces, text[at:]]), ""


def _mend_table(text: str) -> str:
    """A table's first row is drawn as a table at once, though its delimiter row is still to come."""
    block = text.rpartition("\n\n")[2]
    if _TABLE_HEAD.match(block) is None or "\n" in block.partition("\n")[2]:
        return text
    head = block.partition("\n")[0]
    columns = head.strip().strip("|").count("|") + 1
    return text[: len(text) - len(block)] + head + "\n" + "|---" * columns + "|"
