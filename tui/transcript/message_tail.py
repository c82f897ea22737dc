"""The rows below a message's text: what is waited for, how it ended, its sources, and a note."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from rich.segment import Segment

from backends.events import Citation
from tui.markdown.flow import Line, width_of, wrap
from tui.markdown.inline import cited
from tui.markdown.sanitize import sanitize
from tui.markdown.text_strip import Border, TextStrip, to_strip
from tui.transcript.message_part import MARGIN, Look, strips

Ending = Literal["complete", "truncated", "cancelled", "interrupted", "failed"]

MARKED = {
    "truncated": "⋯ cut off at the length limit",
    "cancelled": "■ cancelled",
    "interrupted": "⚡ interrupted before its end",
    "failed": "✗ failed",
}
"""The endings that are told under a message."""
_SKELETON = (0.7, 0.8, 0.4)
"""Lengths of the lines that stand for an answer still to come, as shares of the column."""


def waiting_rows(waiting: str, tick: int, look: Look, *, skeleton: bool) -> list[TextStrip]:
    """The moving indicator, and with `skeleton` the place where the answer will stand."""
    column, palette = look.column, look.palette
    at = tick % 4
    dots = "".join("●" if index == at else "·" for index in range(3))
    rows = strips([(dots + "  ", palette.cursor), (sanitize(waiting), palette.waiting)], column, palette)
    if skeleton:
        lit = tick % (len(_SKELETON) + 2)
        for index, share in enumerate(_SKELETON):
            style = palette.skeleton_lit if index == lit else palette.skeleton
            rows.append(to_strip([Border("━" * int(column * share), style)], MARGIN, palette))
    return rows


def ending_rows(ending: Ending | None, look: Look) -> list[TextStrip]:
    """How the message ended, if it is not simply complete."""
    return strips([(MARKED[ending], look.palette.ending)], look.column, look.palette) if ending in MARKED else []


def note_rows(note: str | None, look: Look) -> list[TextStrip]:
    """The dim line."""
    return strips([(sanitize(note), look.palette.note)], look.column, look.palette) if note else []


def chip_rows(citations: Sequence[Citation], selected: int | None, look: Look) -> list[TextStrip]:
    """The sources, `selected` marked."""
    column, palette = look.column, look.palette
    if not citations:
        return []
    head = "Sources  "
    lines: list[Line] = [[Segment(head, palette.note)]]
    for index, citation in enumerate(citations):
        mark = sanitize(citation.id)
        title = sanitize(citation.title or citation.source).replace("\n", " ")
        style = palette.chip_selected if index == selected else palette.chip
        chip = wrap([(f"[{mark}] {title}", style + cited(mark))], max(1, column - len(head)))[0]
        if len(lines[-1]) > 1 and width_of(lines[-1]) + width_of(chip) > column:
            lines.append([Segment(" " * len(head), palette.text)])
        lines[-1].extend([*chip, Segment("  ", palette.text)])
    return [to_strip(line, MARGIN, palette) for line in lines]
