"""The scripted Markdown answer: N tokens, about every tenth of them a marker like ``mk000123``.

A token is one streamed delta: a word with its blank, or a piece of Markdown. The text goes through headings,
paragraphs with markup, lists, fenced code, tables and quotes, so that a client has real Markdown to draw. The same
numbers give the same answer.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import NamedTuple

_WORDS = """
latency token stream buffer render frame cursor socket parser layout kernel cache queue scroll widget prompt model
answer batch decode prefill attention memory throughput terminal escape sequence paint column margin style the a of and
with to in is are that while because under over
"""
WORDS = _WORDS.split()


class Piece(NamedTuple):
    """One token's text, and the number of the marker that it is, from 1."""

    text: str
    marker: int | None = None


def marker_word(number: int) -> str:
    """What stands in the text for marker `number`."""
    return f"mk{number:06d}"


def script(tokens: int, every: int = 10, seed: int = 7) -> list[Piece]:
    """An answer of `tokens` pieces; the first plain word of every `every` is a marker, and so is the last piece."""
    rng = random.Random(seed)
    pieces: list[Piece] = []
    marker, due = 0, False
    for text, is_word in itertools.chain.from_iterable(_section(rng, number) for number in itertools.count(1)):
        if len(pieces) == tokens - 1:
            break
        due = due or len(pieces) % every == every - 1
        if due and is_word:
            marker, due = marker + 1, False
            pieces.append(Piece(marker_word(marker) + " ", marker))
        else:
            pieces.append(Piece(text))
    return [*pieces, Piece(f"\n\n{marker_word(marker + 1)}", marker + 1)]


def _section(rng: random.Random, number: int) -> Iterator[tuple[str, bool]]:
    """One section's tokens, each with whether it is a plain word, which a marker may replace."""
    yield from _syntax("## ", "Section ", f"{number} ")
    yield from _words(rng, 4)
    yield "\n\n", False
    for _ in range(2):
        yield from _paragraph(rng)
    yield from _list(rng, ["- "] * 5, 8)
    yield from _code(rng)
    yield from _table(rng)
    yield from _list(rng, [f"{item}. " for item in range(1, 5)], 9)
    yield "> ", False
    yield from _words(rng, 14)
    yield "\n\n", False


def _syntax(*texts: str) -> Iterator[tuple[str, bool]]:
    for text in texts:
        yield text, False


def _words(rng: random.Random, count: int) -> Iterator[tuple[str, bool]]:
    for _ in range(count):
        yield rng.choice(WORDS) + " ", True


def _paragraph(rng: random.Random) -> Iterator[tuple[str, bool]]:
    for index in range(48):
        if index == 12:
            yield from _syntax("**", rng.choice(WORDS), "** ")
        elif index == 30:
            yield "`code_span()` ", False
        else:
            yield from _words(rng, 1)
        if index % 11 == 10:
            yield ". ", False
    yield "\n\n", False


def _list(rng: random.Random, bullets: list[str], words: int) -> Iterator[tuple[str, bool]]:
    for bullet in bullets:
        yield bullet, False
        yield from _words(rng, words)
        yield "\n", False
    yield "\n", False


def _code(rng: random.Random) -> Iterator[tuple[str, bool]]:
    yield from _syntax("```", "python\n")
    for index in range(8):
        yield "    " if index else "def run(x):\n    ", False
        yield from _words(rng, 1)
        yield from _syntax("= ", f"fn_{index}(")
        yield from _words(rng, 1)
        yield ")  # ", False
        yield from _words(rng, 2)
        yield "\n", False
    yield from _syntax("```", "\n\n")


def _table(rng: random.Random) -> Iterator[tuple[str, bool]]:
    yield from _syntax("| name | value | note |\n", "|---|---|---|\n")
    for _ in range(4):
        yield "| ", False
        yield from _words(rng, 1)
        yield from _syntax("| ", f"{rng.randint(1, 999)} ", "| ")
        yield from _words(rng, 2)
        yield "|\n", False
    yield "\n", False
