"""An unfinished construct is drawn as what it is about to become."""

from __future__ import annotations

import pytest
from hypothesis import given

from tests.tui.transcript.markdown_text import PLAIN, texts
from tui.markdown.document import Document
from tui.markdown.mend import mend


@pytest.mark.parametrize(
    ("text", "mended"),
    [
        ("some **bold", "some **bold**"),
        ("some **bold te*", "some **bold te**"),
        ("some **", "some "),
        ("***both", "***both***"),
        ("**a *b", "**a *b***"),
        ("~~gone", "~~gone~~"),
        ("`code", "`code`"),
        ("`**code", "`**code`"),
        ("`a*b` and *c", "`a*b` and *c*"),
        ("a [link](http://exa", "a link"),
        ("**a `b", "**a `b`**"),
    ],
)
def test_what_is_open_is_closed(text: str, mended: str) -> None:
    assert mend(text) == mended


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "2 * 3 * 4",
        "a_b_c",
        "**done** *too*",
        "42",
        "- item",
        "\\*not",
        "a [S1]",
    ],
)
def test_what_is_complete_stays(text: str) -> None:
    assert mend(text) == text


@pytest.mark.parametrize("text", ["text\n``", "text\n- [ ]", "text\n2.", "text\n--", "text\n|", "text\n> #"])
def test_half_a_mark_is_not_drawn(text: str) -> None:
    document = Document(text)
    document.draw(40, PLAIN)
    drawn = "\n".join(document[row].text for row in range(document.height)).rstrip()
    assert drawn.strip("▎ \n") == "text"


@pytest.mark.parametrize("text", ["| a | b", "| a | b |", "| a | b |\n", "| a | b |\n|--", "| a | b |\n|--|--|\n"])
def test_a_table_is_one_from_its_first_row_on(text: str) -> None:
    document = Document(text)
    document.draw(40, PLAIN)
    assert [document[row].text for row in range(document.height)] == ["a │ b", "──┼──"]


@given(texts)
def test_nothing_is_invented(text: str) -> None:
    """Mending only adds closing marks and takes half ones away: every letter drawn is one of the text's."""
    added = set(mend(text)) - set(text) - set("*~`|- \n")
    assert not added


@pytest.mark.parametrize("text", ["Use **bold text** and *it*.", "1. one **two**\n2. `x`", "> quoted *words* here"])
def test_stars_and_ticks_never_flash(text: str) -> None:
    for end in range(1, len(text) + 1):
        document = Document(text[:end])
        document.draw(40, PLAIN)
        assert not any(char in document[row].text for row in range(document.height) for char in "*`")
