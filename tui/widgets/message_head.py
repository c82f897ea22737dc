"""The rows above a message's text: who speaks, and how long was thought."""

from __future__ import annotations

from typing import Literal

from rich.style import Style

from tui.markdown.flow import wrap
from tui.markdown.sanitize import sanitize
from tui.markdown.text_strip import Border, TextStrip, to_strip
from tui.widgets.message_part import Look, strips

Kind = Literal["user", "assistant", "error", "notice"]


def title_rows(kind: Kind, title: str, look: Look) -> list[TextStrip]:
    """The name over an answer, the heading of an error; the user's own messages and notices have none."""
    column, palette = look.column, look.palette
    if kind == "assistant" and title:
        return strips([(sanitize(title), palette.title)], column, palette)[:1]
    if kind == "error":
        bar = Border("▌ ", palette.error_bar)
        lines = wrap([(sanitize(title or "Error"), palette.error_title)], column)
        return [to_strip([bar, *line], 0, palette) for line in lines]
    return []


def thought_row(key: str, words: int, look: Look, *, thinking: bool, unfolded: bool) -> list[TextStrip]:
    """The line that tells of a thought of `words` words; a click on it folds and unfolds the message `key`."""
    style = look.palette.reasoning + Style.from_meta({"reasoning": key})
    label = f"{'▾' if unfolded else '▸'} {'Thinking' if thinking else 'Thought'}, {words:,} words"
    return strips([(label, style)], look.column, look.palette)
