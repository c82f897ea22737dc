"""Long paragraphs are drawn in parts, which do not depend on how they came in."""

from __future__ import annotations

import random

import pytest

from tests.tui.transcript.markdown_text import PLAIN
from tui.markdown.document import Document
from tui.markdown.growing import GrowingText
from tui.markdown.parts import LONG, Parts

WORDS = [
    "word",
    "**bold**",
    "*open",
    "`code`",
    "`",
    "**",
    "[S1]",
    "[later]",
    "[l](http://x.org)",
    "你好，世界",
    "a\n",
    "\n> b",
]


def long_text(random_: random.Random) -> str:
    words: list[str] = []
    while sum(map(len, words)) < LONG:
        words.append(random_.choice(WORDS))
    return " ".join(words)


def pieces_of(text: str, random_: random.Random) -> list[str]:
    pieces: list[str] = []
    while text:
        length = random_.randint(1, 3_000)
        pieces.append(text[:length])
        text = text[length:]
    return pieces


def rows(pieces: list[str]) -> list[object]:
    document = Document()
    for piece in pieces:
        document.append(piece)
        document.draw(60, PLAIN)
    document.finish()
    document.draw(60, PLAIN)
    return [document[row] for row in range(document.height)]


@pytest.mark.parametrize(
    "frame", ["{}\n\nshort", "> {}", "- [x] {}", "{}\n===\n", "[d]: /u\n{}", "{}\n\n[later]: http://y.org"]
)
def test_a_long_paragraph_is_the_same_in_pieces_or_at_once(frame: str) -> None:
    random_ = random.Random(frame)
    text = frame.format(long_text(random_))
    assert rows(pieces_of(text, random_)) == rows([text])


def test_parts_are_the_text() -> None:
    random_ = random.Random(1)
    text = "x" * 2_000 + long_text(random_).replace("*", "").replace("`", "")
    parts = Parts()
    found = [part for piece in pieces_of(text, random_) for part in parts.feed(piece)]
    assert "".join(found) + parts.rest == text
    assert max(map(len, found)) <= 800


def test_the_end_of_a_long_paragraph_does_not_read_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    runs = GrowingText._runs
    monkeypatch.setattr(
        GrowingText, "_runs", lambda self, text, *more: read.append(len(text)) or runs(self, text, *more)
    )
    monkeypatch.setattr("tui.markdown.document.block_lines", lambda *_: pytest.fail("drawn as a whole"))
    document = Document("some words and **more** of them, " * 700)
    document.draw(60, PLAIN)
    read.clear()
    document.append("the end\n\n")
    document.draw(60, PLAIN)
    assert 0 < sum(read) < 2_000
