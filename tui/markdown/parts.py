"""A paragraph in parts that are read by themselves: while it grows, and for good where the whole takes longer than a
frame. Where it is cut depends on the text alone, not on how it came.
"""

from __future__ import annotations

from collections.abc import Iterator

from rich.style import Style

from tui.markdown.flow import Run
from tui.markdown.inline import inline_runs
from tui.markdown.mend import mend, split_open
from tui.markdown.palette import Palette
from tui.markdown.parser import References, parse_inline

LONG = 16_000
"""Characters from which on a paragraph stays in parts when it is complete: a mark does not close one far away then."""
_SEGMENT = 400
"""Characters of a part; at most twice as many wait for more."""
_FEED = 10 * _SEGMENT


class Parts:
    """Text in; parts out, each with the marks that are open where it begins. `rest` is what may still change."""

    def __init__(self) -> None:
        self._text = self._marks = ""

    @property
    def rest(self) -> str:
        """What is not given out."""
        return self._marks + self._text

    def feed(self, text: str) -> Iterator[str]:
        """Adds text; the parts that are complete."""
        self._text += text
        while len(self._text) > 2 * _SEGMENT:
            part, self._text, self._marks = split_open(self.rest, len(self._marks) + _SEGMENT)
            yield part


def part_runs(text: str, style: Style, references: References, palette: Palette) -> list[Run]:
    """A part, drawn over `style`."""
    bare = text.rstrip(" \n")
    return [*inline_runs(parse_inline(mend(bare), references), style, palette), (text[len(bare) :], style)]


def long_runs(text: str, style: Style, references: References, palette: Palette) -> list[Run]:
    """A long paragraph, drawn over `style`."""
    parts, runs = Parts(), list[Run]()
    for at in range(0, len(text), _FEED):
        for part in parts.feed(text[at : at + _FEED]):
            runs += part_runs(part, style, references, palette)
    return runs + part_runs(parts.rest, style, references, palette)
