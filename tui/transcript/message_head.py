"""The rows above a message's text: who speaks, which version it is of how many, and how long was thought."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rich.segment import Segment
from rich.style import Style

from tui.markdown.flow import Line, width_of, wrap
from tui.markdown.sanitize import sanitize
from tui.markdown.text_strip import Border, TextStrip, to_strip
from tui.transcript.message_part import MARGIN, Look, strips

Kind = Literal["user", "assistant", "error", "notice"]


@dataclass(frozen=True)
class Version:
    """Which of the versions of a message this is, counted from 1, and how many there are."""

    number: int
    count: int


def title_rows(kind: Kind, title: str, version: Version | None, look: Look) -> list[TextStrip]:
    """The name over an answer, the heading of an error; the user's own messages and notices have none.

    With a `version`, its number stands there too, between signs whose meta data "sibling" says where a click leads.
    """
    column, palette = look.column, look.palette
    if kind in ("user", "assistant"):
        numbers = [] if version is None else _numbers(version, look)
        room = column - width_of(numbers)
        named = kind == "assistant" and title and room > 0
        name = wrap([(sanitize(title) + "  " * bool(numbers), palette.title)], room)[0] if named else []
        return [to_strip([*name, *numbers], MARGIN, palette)] if name or numbers else []
    if kind == "error":
        bar = Border("▌ ", palette.error_bar)
        lines = wrap([(sanitize(title or "Error"), palette.error_title)], column)
        return [to_strip([bar, *line], 0, palette) for line in lines]
    return []


def _numbers(version: Version, look: Look) -> Line:
    note = look.palette.note
    before, after = (note + Style.from_meta({"sibling": step}) for step in (-1, 1))
    return [
        Segment("‹" if version.number > 1 else " ", before),
        Segment(f" {version.number}/{version.count} ", note),
        Segment("›" if version.number < version.count else " ", after),
    ]


def thought_row(key: str, words: int, look: Look, *, thinking: bool, unfolded: bool) -> list[TextStrip]:
    """The line that tells of a thought of `words` words; a click on it folds and unfolds the message `key`."""
    style = look.palette.reasoning + Style.from_meta({"reasoning": key})
    label = f"{'▾' if unfolded else '▸'} {'Thinking' if thinking else 'Thought'}, {words:,} words"
    return strips([(label, style)], look.column, look.palette)
