"""Which cells of a drawn line are text, and how lines that were broken go together again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.segment import Segment

from tests.tui.transcript.markdown_text import PLAIN
from tui.markdown.document import Document
from tui.markdown.text_strip import BLANK_SEAM, CUT_SEAM, Border, indices, to_strip


def text_of(source: str, width: int = 24) -> str:
    """What is drawn for `source`, with soft-wrapped lines joined, borders left out."""
    document = Document(source)
    document.finish()
    document.draw(width, PLAIN, 2)
    lines: list[str] = []
    for strip in (document[line] for line in range(document.height)):
        text = strip.between()
        if strip.joint is not None:
            lines[-1] += strip.joint + (text or "")
        elif text is not None:
            lines.append(text)
    return "\n".join(line.rstrip() for line in lines)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("many words that have to be wrapped more than once", "many words that have to be wrapped more than once"),
        ("x" * 60 + " y", "x" * 60 + " y"),
        ("one\ntwo", "one\ntwo"),
        ("- an item that has to be wrapped\n  - below", "• an item that has to be wrapped\n◦ below"),
        ("10. an item that has to be wrapped", "10. an item that has to be wrapped"),
        ("> a quote that has to be wrapped\n>\n> > more", "a quote that has to be wrapped\n\nmore"),
        ("```py\n    x = '" + "y" * 40 + "'  \n\nz\n```", "    x = '" + "y" * 40 + "'\n\nz"),
        ("a\n\n---\n\nb", "a\n\n\nb"),
        ("| a | b |\n|--:|---|\n| 1 | x y |", "a\tb\n1\tx y"),
        ("你好世界" * 8, "你好世界" * 8),
    ],
)
def test_text_comes_without_wraps_borders_and_padding(source: str, text: str) -> None:
    assert text_of(source) == text


def test_code_says_where_it_begins_and_ends() -> None:
    for source in ("```\na\nb\n```\n\n```py\nc\n```", "- ```\n  a\n  b\n  ```\n  ```py\n  c\n  ```"):
        document = Document(source)
        document.finish()
        document.draw(30, PLAIN)
        code = [document[line].code for line in range(document.height)]
        assert [c for c in code if c] == ["first", "rest", "first", "rest"]


def test_an_open_block_of_code_begins_once() -> None:
    for head in ("```\n", "```py\n", "    "):
        document = Document(head)
        for piece in ("a", "b\n", "c\n", "d"):
            document.append(piece if head != "    " else piece.replace("\n", "\n    "))
            document.draw(30, PLAIN)
            code = [document[line].code for line in range(document.height)]
            assert [at for at, kind in enumerate(code) if kind == "first"] == [0], (head, code)


def test_a_part_of_a_line() -> None:
    strip = to_strip([Border("▎ ", PLAIN.text), Segment("你好ab", PLAIN.text), Border("  ", PLAIN.text)], 2, PLAIN)
    assert (strip.start, strip.end) == (4, 10)
    assert strip.between() == "你好ab"
    assert strip.between(5, 9) == "你好a"  # half a wide character is a whole one
    assert strip.between(6, 9) == "好a"
    assert strip.between(0, 4) == ""
    assert to_strip([Border("──", PLAIN.text)], 2, PLAIN).between() is None
    assert to_strip([], 2, PLAIN).between() == ""


def test_seams_are_not_drawn() -> None:
    for seam, joint in ((BLANK_SEAM, " "), (CUT_SEAM, ""), (Segment("x"), None)):
        strip = to_strip([Border(" ", PLAIN.text), seam, Segment("y", PLAIN.text)], 1, PLAIN)
        assert strip.joint == joint
        assert strip.text.strip() in ("y", "xy")


GRAPHEMES = ["a", "b", "你", "é", "👩\u200d👧", "👩", "e\u0301", " "]  # stray joiners never get this far


@given(st.lists(st.sampled_from(GRAPHEMES), max_size=12).map("".join), st.integers(0, 20), st.integers(0, 20))
def test_cells_are_cut_at_whole_characters(text: str, start: int, end: int) -> None:
    first, after = indices(text, start, end)
    piece = text[first:after]
    assert cell_len(piece) >= min(end, cell_len(text)) - min(start, cell_len(text)) or end <= start
    assert cell_len(text[:first]) <= start or not piece
