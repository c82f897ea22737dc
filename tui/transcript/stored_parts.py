"""An answer that is complete, in parts that are drawn when they are looked at."""

from __future__ import annotations

from functools import cache, partial

from tui.markdown.flow import wrap
from tui.markdown.parser import References
from tui.markdown.render import long_code_lines
from tui.markdown.sanitize import sanitize
from tui.markdown.sections import Form, cut, references_of
from tui.markdown.text_strip import TextStrip, to_strip
from tui.transcript.message_part import MARGIN, Look, MarkdownPart, Part, PlainPart


def stored_parts(source: str) -> list[Part]:
    """The parts of an answer that is complete."""
    sections = cut(source)

    @cache
    def references() -> References:
        return references_of(sections)

    parts: list[Part] = []
    for number, section in enumerate(sections):
        gap = 1 if number and not section.joined else 0
        if section.form == "markdown":
            alone = dict if len(sections) == 1 else references
            parts.append(MarkdownPart(section.text, alone, gap=gap))
        else:
            draw = partial(_draw_long, form=section.form, opening=not section.joined)
            parts.append(PlainPart(section.text, draw, gap=gap))
            parts[-1].goes_on = section.joined
    return parts


def _draw_long(text: str, look: Look, *, form: Form, opening: bool) -> list[TextStrip]:
    """A section of a block that is too long to be drawn in one go; `opening` begins it."""
    text = sanitize(text)
    match form:
        case "code":
            lines = long_code_lines(text, look.column, look.palette, opening=opening)
        case "closing":
            lines = []
        case _:
            lines = wrap([(text.rstrip("\n"), look.palette.text)], look.column)
    return [to_strip(line, MARGIN, look.palette) for line in lines]
