"""What has to be written to change what the terminal shows; played on an emulated one."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from pyte import Screen, Stream
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from tui.terminal.picture import Picture

WIDTH, HEIGHT, EDGE = 14, 6, 10
CONSOLE = Console(force_terminal=True, color_system="truecolor")
STYLES = [Style(bgcolor="#101010"), Style(color="#ff0000", bgcolor="#101010"), Style(bold=True, bgcolor="#202020")]


@st.composite
def strips(draw: st.DrawFn, width: int) -> Strip:
    """A strip of `width` cells."""
    segments, left = [], width
    while left:
        text = draw(st.text("ab █─é" + "你", min_size=1, max_size=left))
        segment = Segment(text, draw(st.sampled_from(STYLES)))
        if segment.cell_length <= left:
            segments.append(segment)
            left -= segment.cell_length
    return Strip(segments, width)


put = st.tuples(st.just("put"), st.integers(0, HEIGHT - 1), strips(EDGE), strips(WIDTH - EDGE))
scroll = st.tuples(st.just("scroll"), st.integers(0, 2), st.integers(4, HEIGHT), st.sampled_from([-3, -1, 1, 2]))


class Terminal:
    """A picture, and the emulated screen on which all that it wants written is played."""

    def __init__(self) -> None:
        self.picture = Picture(WIDTH, HEIGHT, CONSOLE)
        self.screen = Screen(WIDTH, HEIGHT)
        self._stream = Stream(self.screen)

    def put(self, y: int, left: Strip, right: Strip) -> str:
        text = self.picture.put(0, y, left) + self.picture.put(EDGE, y, right)
        self._stream.feed(text)
        return text

    def scroll(self, top: int, bottom: int, lines: int) -> str:
        text = self.picture.scroll(top, bottom, lines, 0, EDGE)
        self._stream.feed(text)
        return text

    def cells(self) -> list[list[object]]:
        return [[self.screen.buffer[y][x] for x in range(WIDTH)] for y in range(HEIGHT)]


@settings(deadline=None)
@given(
    st.lists(st.one_of(put, scroll), max_size=25),
    st.lists(st.tuples(strips(EDGE), strips(WIDTH - EDGE)), min_size=HEIGHT, max_size=HEIGHT),
)
def test_the_screen_is_what_was_put_whatever_was_moved(
    changes: list[tuple[Any, ...]], first: list[tuple[Strip, Strip]]
) -> None:
    terminal = Terminal()
    rows = list(first)
    for y, row in enumerate(rows):
        terminal.put(y, *row)
    for what, *change in changes:
        if what == "put":
            rows[change[0]] = (change[1], change[2])
            terminal.put(*change)
            continue
        top, bottom, lines = change
        terminal.scroll(top, bottom, lines)
        for y in range(top, bottom):  # what moved in is put, as is what has to be where it was
            terminal.put(y, *rows[y])
    anew = Terminal()
    for y, row in enumerate(rows):
        anew.put(y, *row)
    assert terminal.cells() == anew.cells()


def line(text: str) -> Strip:
    return Strip([Segment(text.ljust(EDGE), STYLES[0])], EDGE)


RIGHT = Strip([Segment("side", STYLES[1])], WIDTH - EDGE)


def test_only_what_differs_is_written() -> None:
    terminal = Terminal()
    terminal.put(1, line("some word"), RIGHT)
    assert terminal.put(1, line("some word"), RIGHT) == ""
    assert terminal.put(1, line("some wind"), RIGHT) == "\x1b[2;7H\x1b[48;2;16;16;16min\x1b[0m"


def test_moved_lines_are_not_written_again_and_what_is_beside_them_stays() -> None:
    terminal = Terminal()
    for y in range(HEIGHT):
        terminal.put(y, line(f"line {y}"), RIGHT)
    assert terminal.scroll(1, 5, 2).startswith("\x1b[2;5r\x1b[2;1H\x1b[2M\x1b[r")
    assert terminal.put(1, line("line 3"), RIGHT) == ""
    shown = [text[:EDGE].rstrip() + "|" + text[EDGE:] for text in terminal.screen.display]
    assert shown == ["line 0|side", "line 3|side", "line 4|side", "|side", "|side", "line 5|side"]


def test_what_is_beside_lines_that_move_again_and_again_stays() -> None:
    terminal = Terminal()
    for y in range(HEIGHT):
        terminal.put(y, line(f"line {y}"), Strip([Segment(f"at {y}", STYLES[1])], WIDTH - EDGE))
    written = []
    for number in (6, 7, 8):
        written.append(terminal.scroll(0, HEIGHT, 1))
        terminal.put(HEIGHT - 1, line(f"line {number}"), Strip([Segment("at 5", STYLES[1])], WIDTH - EDGE))
        shown = [text[EDGE:] for text in terminal.screen.display]
        assert shown == ["at 0", "at 1", "at 2", "at 3", "at 4", "at 5"]
    assert written[0] == written[2]


def test_nothing_is_moved_where_a_row_is_not_known() -> None:
    terminal = Terminal()
    terminal.put(0, line("known"), RIGHT)
    assert terminal.scroll(0, 2, 1) == ""


def test_a_row_of_uncertain_width_is_written_whole_with_what_stands_beside_it() -> None:
    terminal = Terminal()
    terminal.put(0, line("plain"), RIGHT)
    thumbs = Strip([Segment("👍🏽 x    ", STYLES[0]), Segment("it", STYLES[1])])
    assert thumbs.cell_length == EDGE
    written = terminal.put(0, thumbs, RIGHT)
    assert f"\x1b[1;{EDGE - 1}H" in written
    assert written.endswith(RIGHT.render(CONSOLE))
