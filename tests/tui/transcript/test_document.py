"""A streamed text ends up drawn exactly like the same text in one piece."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len

from tests.tui.transcript.markdown_text import PLAIN, chunked, lines_of, texts
from tui.markdown.document import Document, to_strip
from tui.markdown.render import render
from tui.markdown.sanitize import scrub


def whole(text: str, width: int) -> list[str]:
    """The whole text parsed and drawn at once, past the splitter."""
    lines = render(scrub(text), {}, width, PLAIN)
    return [to_strip(line, 0, PLAIN).simplify().__repr__() for line in lines]


def streamed(pieces: list[str], width: int, *, draw_every: bool = True) -> Document:
    document = Document()
    for piece in pieces:
        document.append(piece)
        if draw_every:
            document.draw(width, PLAIN)
    document.finish()
    document.draw(width, PLAIN)
    return document


@given(chunked(), st.integers(8, 60))
@example(["- a\n\n1", ". b\n"], 20)
@example(["para\n#", "not a heading"], 20)
@example(['[foo]: /u\n"tit', 'le"\n\n[foo]\n'], 20)
@example(["```\ncode\n``", "`\nafter"], 20)
@example(["[a]\n\ntext\n\n[a]: http://x.org\n\n", "end"], 20)
@example(["```\n\n```\n```", "\n\nx"], 20)
def test_any_chunking_draws_the_same_as_the_whole_text(pieces: list[str], width: int) -> None:
    document = streamed(pieces, width)
    assert [document[row].simplify().__repr__() for row in range(document.height)] == whole("".join(pieces), width)


@given(chunked(), st.integers(8, 60))
def test_each_drawing_says_where_it_first_differs(pieces: list[str], width: int) -> None:
    document = Document()
    before: list[object] = []
    for piece in pieces:
        document.append(piece)
        first = document.draw(width, PLAIN)
        now = list(lines_of(document, width))
        assert now[:first] == before[:first]
        before = list(now)


@given(chunked())
def test_the_source_is_kept(pieces: list[str]) -> None:
    document = streamed(pieces, 30)
    assert document.source == scrub("".join(pieces))


@given(texts, st.integers(1, 50))
def test_no_line_is_wider_than_asked(text: str, width: int) -> None:
    for line in render(scrub(text), {}, max(width, 12), PLAIN):
        assert sum(cell_len(segment.text) for segment in line) <= max(width, 12)


@given(chunked(st.text()), st.integers(1, 40))
def test_any_text_at_any_width_can_be_drawn(pieces: list[str], width: int) -> None:
    document = streamed(pieces, width)
    assert document.source == scrub("".join(pieces))


@given(chunked(st.text(alphabet=st.characters(codec="utf-8") | st.sampled_from("\x1b\x9b\x07\u202e\r\n*`[]()&#;"))))
def test_no_control_character_is_ever_drawn(pieces: list[str]) -> None:
    document = Document()
    for piece in pieces:
        document.append(piece)
        document.draw(40, PLAIN)
        for row in range(document.height):
            text = document[row].text
            assert not any(ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 or char == "\u202e" for char in text)


@pytest.mark.parametrize(
    "text", ["&#27;[31m", "&#x9b;", "&#x202e;x", "`a\x1b[2J`", "```\x1b\n\x07\n```", '[x](http://a.b "\x1b")']
)
def test_entities_and_code_cannot_carry_controls(text: str) -> None:
    document = streamed([text], 40)
    drawn = "\n".join(document[row].text for row in range(document.height))
    assert not any(char in drawn for char in "\x1b\x9b\x07\u202e")


def test_settled_blocks_are_drawn_once() -> None:
    document = Document()
    document.append("# One\n\nfirst paragraph\n\nsecond")
    document.draw(40, PLAIN)
    kept = document[0], document[2]
    document.append(" paragraph grows\n\nthird")
    first = document.draw(40, PLAIN)
    assert first >= 3
    assert document[0] is kept[0]
    assert document[2] is kept[1]


def test_nothing_new_draws_nothing() -> None:
    document = streamed(["a *b*\n\nc"], 40)
    assert document.draw(40, PLAIN) == document.height


def test_a_late_link_definition_reaches_back() -> None:
    document = Document()
    for piece in ("See [docs].\n\nMore.\n\n", "[docs]: https://x.org\n\n", "End.\n\nvery end"):
        document.append(piece)
        document.draw(40, PLAIN)
    links = {segment.style.link for segment in document[0] if segment.style is not None}
    assert "https://x.org" in links


@given(chunked())
def test_a_text_that_still_grows_is_drawn_as_if_it_came_at_once(pieces: list[str]) -> None:
    document = Document()
    for count, piece in enumerate(pieces, 1):
        document.append(piece)
        document.draw(30, PLAIN)
        assert lines_of(document, 30) == lines_of(Document("".join(pieces[:count])), 30)


@given(
    chunked(st.lists(st.sampled_from(["x = 1", "", "  ", "\ty", "你好" * 20, "``", "- a", "[a]: b"])).map("\n".join))
)
@example(["a\n", "\n"])
def test_an_open_fence_is_drawn_line_by_line_as_in_one_go(pieces: list[str]) -> None:
    opening = " ```python\n"
    document = Document(opening)
    document.draw(30, PLAIN)
    for piece in [*pieces, "\nend"]:
        document.append(piece)
        document.draw(30, PLAIN)
    expected = render(opening + "".join(pieces) + "\nend", {}, 30, PLAIN, final=False)
    assert [document[row].text for row in range(document.height)] == [
        "".join(segment.text for segment in line) for line in expected
    ]


def test_nothing_heavy_is_imported_before_there_is_markdown() -> None:
    code = "import sys, tui.widgets.transcript; print({'markdown_it', 'pygments'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
