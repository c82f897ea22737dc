"""A streamed text ends up drawn exactly like the same text in one piece."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from tests.tui.transcript.markdown_text import PLAIN, chunked, lines_of, texts
from tests.tui.transcript.reference import reference
from tui.markdown.document import Document
from tui.markdown.reader import read
from tui.markdown.sanitize import scrub
from tui.markdown.text_strip import TextStrip

# From CommonMark 0.31.2, licence CC-BY-SA 4.0; see commonmark_examples.md.
_FILE = Path(__file__).with_name("commonmark_examples.json")
EXAMPLES = [example["markdown"] for example in json.loads(_FILE.read_text("utf-8"))]


def drawn(document: Document) -> list[TextStrip]:
    return [document[row] for row in range(document.height)]


def streamed(pieces: list[str], width: int, *, draw_every: bool = True) -> Document:
    document = Document()
    for piece in pieces:
        document.append(piece)
        if draw_every:
            document.draw(width, PLAIN)
    document.finish()
    document.draw(width, PLAIN)
    while document.unfinished:
        document.draw(width, PLAIN)
    return document


def expect_the_same(pieces: list[str], width: int) -> None:
    """In pieces or at once, and as markdown-it reads it."""
    text = "".join(pieces)
    strips = drawn(streamed(pieces, width))
    assert strips == drawn(streamed([text], width))
    plain = [(strip.text, strip.spans, strip.joint, strip.code) for strip in strips]
    assert plain == [(strip.text, strip.spans, strip.joint, strip.code) for strip in reference(text, width)]


# What markdown-it sees otherwise than CommonMark's own programs: it takes a link definition for a block of its own, not
# for the beginning of a paragraph which the next line goes on with.
DEFINITION_GOES_ON = re.compile(r"\]:[^\n]*\n(?![ \t]*(\n|$))")


@given(chunked(), st.integers(8, 60))
@example(["- a\n\n1", ". b\n"], 20)
@example(["para\n#", "not a heading"], 20)
@example(['[foo]: /u\n"tit', 'le"\n\n[foo]\n'], 20)
@example(["```\ncode\n``", "`\nafter"], 20)
@example(["[a]\n\ntext\n\n[a]: http://x.org\n\n", "end"], 20)
@example(["```\n\n```\n```", "\n\nx"], 20)
@example(["````\n  ```\n - x\n", " "], 20)
@example(["- - foo\n\n   ```\n   aaa\n   ```\n"], 20)
@example(["- a\n- b\n\n- c\n\ntext"], 20)
def test_any_chunking_draws_the_same_as_the_whole_text(pieces: list[str], width: int) -> None:
    assume(not DEFINITION_GOES_ON.search("".join(pieces)))
    expect_the_same(pieces, width)


@pytest.mark.parametrize("part", range(4))
def test_the_examples_of_commonmark_in_pieces(part: int) -> None:
    rng = random.Random(part)
    for text in EXAMPLES[part::4]:
        size = rng.choice([1, 3, 9])
        expect_the_same([text[at : at + size] for at in range(0, len(text), size)], rng.choice([12, 40]))


@settings(max_examples=60)
@given(chunked(st.lists(st.sampled_from(EXAMPLES), min_size=2, max_size=5).map("\n".join)), st.integers(12, 60))
def test_the_examples_of_commonmark_one_after_the_other(pieces: list[str], width: int) -> None:
    assume(not DEFINITION_GOES_ON.search("".join(pieces)))
    expect_the_same(pieces, width)


@given(chunked())
def test_every_drawn_block_of_code_has_its_source(pieces: list[str]) -> None:
    strips = drawn(streamed(pieces, 30))
    blocks = [block for block in read(scrub("".join(pieces))).settled if block.kind in ("fence", "code")]
    assert len(blocks) == sum(strip.code == "first" for strip in strips)


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
    for strip in drawn(streamed([text], max(width, 12))):
        assert cell_len(strip.text) <= max(width, 12)


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
    expected = Document(opening + "".join(pieces) + "\nend")
    expected.draw(30, PLAIN)
    assert drawn(document) == drawn(expected)


def test_nothing_heavy_is_imported_before_there_is_markdown() -> None:
    code = "import sys, tui.transcript.transcript; print({'markdown_it', 'pygments'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
