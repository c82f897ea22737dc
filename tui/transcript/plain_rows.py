"""Messages that are not Markdown: questions, errors and notices."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tui.markdown.flow import pad, wrap
from tui.markdown.text_strip import Border, TextStrip, to_strip
from tui.transcript.message_head import Kind
from tui.transcript.message_part import MARGIN, READING_WIDTH, Look, strips


def plain_rows(kind: Kind) -> Callable[[str, Look], Sequence[TextStrip]]:
    """What draws a sanitized text of such a message."""
    return {"notice": _notice, "error": _error}.get(kind, _question)


def _notice(text: str, look: Look) -> list[TextStrip]:
    return strips([(text.removesuffix("\n"), look.palette.notice)], look.column, look.palette)


def _error(text: str, look: Look) -> list[TextStrip]:
    bar = Border("▌ ", look.palette.error_bar)
    lines = wrap([(text.removesuffix("\n"), look.palette.error)], look.column)
    return [to_strip([bar, *line], 0, look.palette) for line in lines]


def _question(text: str, look: Look) -> list[TextStrip]:
    bar, style = Border("▌ ", look.palette.user_bar), look.palette.user
    inner = min(look.width, MARGIN + READING_WIDTH + 1)
    lines = wrap([(text.removesuffix("\n"), style)], look.column)
    return [to_strip(pad([bar, *line], inner, style), 0, look.palette) for line in lines]
