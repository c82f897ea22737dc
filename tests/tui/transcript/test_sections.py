"""Cutting a finished text into sections: drawn one by one they look as the whole text does."""

from __future__ import annotations

from unittest.mock import patch

import pytest
from hypothesis import given, settings

from tests.tui.transcript.markdown_text import lines_of, texts
from tests.tui.transcript.test_finder import LOOK
from tui.markdown import sections
from tui.markdown.document import Document
from tui.markdown.sections import SIZE, cut, pieces, references_of
from tui.transcript.message_part import Look
from tui.transcript.stored_parts import stored_parts

Lines = list[list[tuple[str, object]]]


def whole(source: str) -> Lines:
    document = Document(source)
    document.finish()
    return lines_of(document, 50)


def in_sections(source: str) -> Lines:
    found = cut(source)
    assert "".join(section.text for section in found) == source
    known = references_of(found)
    lines: Lines = []
    for section in found:
        document = Document(section.text, known)
        document.finish()
        drawn = lines_of(document, 50)
        lines += [[]] * bool(lines and drawn) + drawn
    return lines


@settings(deadline=None, max_examples=200)
@given(texts)
def test_sections_look_as_the_whole_does(source: str) -> None:
    with patch.object(sections, "SIZE", 2):
        assert in_sections(source) == whole(source)


@pytest.mark.parametrize(
    "source",
    [
        "1. step\n\n   ```\n   a\n\nb\n   ```\n\nafter\n\n```\nc\n\nd\n```\n\nend",
        "- a\n\n ```\nx\n\ny\n ```\n\nz",
        "```a`b\n\npara\n\n```\ncode\n\nmore",
        "[x]\n\ntext\n\n[x]: http://example.org",
        "- a\n\n- b\n\n\tc\n\n- d\n\nend",
        "> quote\n\n> - a\n\n> b\n\nend",
    ],
)
def test_what_is_open_over_blank_lines_is_not_cut(source: str) -> None:
    with patch.object(sections, "SIZE", 2):
        assert in_sections(source) == whole(source)


@pytest.mark.parametrize(
    "block", ["```py\n" + "x = 1  # y\n" * 20_000 + "```\n", "word " * 40_000, "- item\n" * 30_000]
)
def test_no_section_is_too_long_to_be_drawn(block: str) -> None:
    source = f"before\n\n{block}\nafter"
    found = cut(source)
    assert "".join(section.text for section in found) == source
    assert max(len(section.text) for section in found) <= 2 * SIZE


def test_a_very_long_fence_looks_as_the_whole_does() -> None:
    source = "before\n\n```py\n" + "".join(f"line {number}\n\n" for number in range(8_000)) + "```\n\nafter"
    lines: list[str] = []
    for part in stored_parts(source):
        part.lay(Look(53, LOOK))
        part.draw()
        lines += [part[row].text.rstrip()[2:] for row in range(part.height)]
    assert lines == ["".join(text for text, _ in line).rstrip() for line in whole(source)]


def test_pieces_end_with_a_line_or_a_word() -> None:
    assert pieces("") == [""]
    for text in ("line\n" * 5_000, "word " * 5_000, "x" * 30_000):
        found = pieces(text)
        assert "".join(found) == text
        assert len({piece[-1] for piece in found[:-1]}) == 1
