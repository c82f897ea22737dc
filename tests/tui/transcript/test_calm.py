"""A text that comes in letter by letter grows at its end: what is drawn above that neither changes nor jumps."""

from __future__ import annotations

import pytest

from tests.tui.transcript.markdown_text import PLAIN
from tui.markdown.document import Document

BEFORE = "Some words first.\n\n- a list\n- of two\n\n```py\ncode = 1\n```\n\n"

CALM = {
    "bold": "This is **quite bold text** and it goes on for long enough to be wrapped.",
    "bold that stays open": "This is **quite bold text and it goes on for long enough to be wrapped twice.",
    "emphasis within bold": "This **is *very* bold** and ***both*** and ~~gone~~ and so on.",
    "link": "See [the documentation](https://example.org/a/long/path_with_marks) for more.",
    "image": "Look: ![a picture](https://example.org/picture.png) of it.",
    "code": "Call `function_name(a, b)` and ``a ` b`` with care.",
    "fence": "```python\ndef f(x):\n    return '''x'''\n\n# - no list\n```\n",
    "fence of tildes": "~~~\na\n~~\n~~~\n",
    "list": "- one **two**\n- three\n  - four `five`\n- six\n",
    "numbered list": "1. one\n2. two\n10. ten\n",
    "tasks": "- [ ] open\n- [x] done\n",
    "heading": "## A **heading**\n\ntext\n\n### Another\n",
    "rule": "text\n\n---\n\nmore\n",
    "quote": "> quoted *words*\n> and more\n\nend\n",
    "mathematics": "The sum $a_1 * b_1$ and \\(x_i\\) of *all*.",
}


def drawn(document: Document) -> list[str]:
    document.draw(40, PLAIN)
    return [document[row].text.rstrip() for row in range(document.height)]


@pytest.mark.parametrize("name", CALM)
def test_lines_above_the_last_two_stay(name: str) -> None:
    document = Document(BEFORE)
    lines = drawn(document)
    for char in CALM[name]:
        document.append(char)
        before, lines = lines, drawn(document)
        assert lines[: len(before) - 2] == before[: len(before) - 2], (char, before, lines)
        assert len(lines) >= len(before) - 1, (char, before, lines)


@pytest.mark.parametrize("name", CALM)
def test_nothing_is_taken_back_often(name: str) -> None:
    """Words that are drawn stay as they are, but for three times in a text at most."""
    document = Document(BEFORE)
    lines = drawn(document)
    taken_back = 0
    for char in CALM[name]:
        document.append(char)
        before, lines = lines, drawn(document)
        joined, now = " ".join(before).split(), " ".join(lines).split()
        taken_back += now[: len(joined) - 1] != joined[:-1]
    assert taken_back <= 3


TABLE = "| name | what it **is** |\n|---|--:|\n| one | a `cell` |\n| two | another, longer cell |\n"


def test_a_table_is_a_table_all_the_time() -> None:
    document = Document(BEFORE)
    above = drawn(document)
    for at, char in enumerate(TABLE):
        document.append(char)
        lines = drawn(document)
        assert lines[: len(above)] == above
        if at > 2:
            assert "─" in lines[len(above) + 2], lines
        assert not any("|" in line or "---" in line for line in lines[len(above) :])


def test_a_list_that_becomes_loose_does_so_once() -> None:
    document = Document()
    changes = 0
    lines: list[str] = []
    for char in "- one\n- two\n- three\n\n- four\n\n- five\n\n- six\n":
        document.append(char)
        before, lines = lines, drawn(document)
        changes += lines[: len(before) - 1] != before[:-1]
    assert changes == 1
    assert lines == [" • one", "", " • two", "", " • three", "", " • four", "", " • five", "", " • six"]


def test_an_item_within_an_item_has_one_marker_while_it_comes_in() -> None:
    document = Document()
    for char in "1. outer\n   - one\n     - deeper\n       > quoted\n":
        document.append(char)
        markers = [sum(line.count(mark) for line in drawn(document)) for mark in ("1.", "◦", "▪")]
        assert max(markers) <= 1, drawn(document)
    assert drawn(document) == [" 1. outer", "     ◦ one", "        ▪ deeper", "          ▎ quoted"]
