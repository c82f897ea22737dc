"""When each marker of an answer came into view."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from tests.bench.screen import escapes
from tests.bench.screen.recorded_terminal import Read, Screen

_MARKER = re.compile(rb"mk(\d{6})")
_WIDTH = 8


class MarkerText:
    """Finds markers in the text between escape sequences, in a stream of chunks."""

    def __init__(self) -> None:
        self._whole = escapes.Whole()
        self._tail = b""

    def feed(self, data: bytes) -> list[int]:
        """The markers that are complete with `data`."""
        text = self._tail + escapes.plain(self._whole.feed(data))
        self._tail = text[1 - _WIDTH :]
        return [int(number) for number in _MARKER.findall(text)]


def seen(before: Iterable[Read], reads: Sequence[Read], wanted: Iterable[int]) -> dict[int, float]:
    """When each marker stood in what was written; the screen in `before` is what `reads` draws on.

    Looked for in the written text, which is quick; a program that writes only the cells that change may never write a
    marker in one piece, so where one is missing, the whole stream is drawn on an emulated screen too.
    """
    times: dict[int, float] = {}
    text = MarkerText()
    for at, data in reads:
        for number in text.feed(data):
            times.setdefault(number, at)
    if set(wanted) <= times.keys():
        return times
    return _on_the_screen(before, reads) | times


def _on_the_screen(before: Iterable[Read], reads: Iterable[Read]) -> dict[int, float]:
    times: dict[int, float] = {}
    screen = Screen()
    for _, data in before:
        screen.feed(data)
    screen.changed_lines()
    for at, data in reads:
        screen.feed(data)
        for line in screen.changed_lines():
            for number in _MARKER.findall(line.encode()):
                times.setdefault(int(number), at)
    return times
