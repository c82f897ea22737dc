"""Documents cut into passages by their structure: one section of Markdown, or a run of paragraphs of plain text.

A passage is one line of 20 to 120 words with the title of its place ("Document title > Section heading"). A longer
section is split between sentences, every part under the same title; a section shorter than that stands alone, since
joining it with its neighbour would put it under a wrong title. Markdown is read by CommonMark's rules (markdown-it)
with tables; emphasis, links and list bullets become their text, a table row becomes "Header: cell, Header: cell;".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

MIN_WORDS = 20
MAX_WORDS = 120
MAX_TITLE = 160

_SPACE = re.compile(r"\s+")
_FRONT_MATTER = re.compile(r"\A---[ \t]*\n.*?\n(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_SENTENCE_END = re.compile(r"[.!?…][\"'”’)\]]*\s+(?=[^\s\da-z])|[。！？]\s*")
_TAG = re.compile(r"<!--.*?(?:-->|\Z)|<[^>]*>", re.DOTALL)
_LONGEST_WORD = 200


class Passage(msgspec.Struct, frozen=True):
    """A piece of a document: its title, its text on one line, and where it stands (heading, or a range of lines)."""

    title: str
    text: str
    locator: str


class _Unit(msgspec.Struct, frozen=True):
    """A sentence (or list item, or table row) with the lines it stands on, counted from 1."""

    text: str
    first: int
    last: int

    @property
    def size(self) -> int:
        """Words, a very long one (a URL, a script without spaces) counted by its length."""
        return sum(1 + len(word) // 24 for word in self.text.split())


class _Section(msgspec.Struct):
    heading: str
    title: str
    units: list[_Unit]


def chunk_markdown(text: str, name: str) -> list[Passage]:
    """The passages of a Markdown document; `name` is its file name, which is its title where it has no heading."""
    sections = list(_markdown_sections(text, _title_from_name(name)))
    return [passage for section in sections for passage in _passages(section)]


def chunk_text(text: str, name: str) -> list[Passage]:
    """The passages of a plain text document: paragraphs, joined or split to size; titled by the file's name."""
    section = _Section("", _title_from_name(name), [])
    for first, last, paragraph in _paragraphs(text):
        section.units.extend(_sentences(paragraph, first, last))
    return list(_passages(section))


def _title_from_name(name: str) -> str:
    """``guides/billing-faq.md`` -> ``Billing faq``."""
    stem = name.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    title = _flat(stem.replace("-", " ").replace("_", " ")) or name
    return title[:1].upper() + title[1:]


def _flat(text: str) -> str:
    return _SPACE.sub(" ", text).strip()


# --- Markdown -----------------------------------------------------------------------------------------------------


@cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt  # only an index that has something to read needs it

    return MarkdownIt("commonmark").enable("table")


def _markdown_sections(text: str, fallback: str) -> Iterator[_Section]:
    tokens = _parser().parse(_without_front_matter(text))
    document = next((_inline(tokens[i + 1]) for i, token in enumerate(tokens) if token.tag == "h1"), "") or fallback
    path: list[tuple[int, str]] = []
    section = _Section("", document[:MAX_TITLE], [])
    header: list[str] = []
    for i, token in enumerate(tokens):
        if token.type == "heading_open":
            yield section
            level, heading = int(token.tag[1:]), _inline(tokens[i + 1])
            path = [(depth, name) for depth, name in path if depth < level] + [(level, heading)]
            names = [name for _, name in path if name and name != document]
            section = _Section(heading, " > ".join([document, *names])[:MAX_TITLE], [])
        elif token.type == "tr_open":
            cells = _cells(tokens, i)
            if tokens[i + 1].type == "th_open":
                header = cells
            else:
                section.units.append(_unit(_row(header, cells), token))
        else:
            section.units.extend(_block(tokens, i))
    yield section


def _without_front_matter(text: str) -> str:
    """`text` with a YAML block at its head blanked, line numbers kept."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    found = _FRONT_MATTER.match(text)
    return text if found is None else "\n" * found.group().count("\n") + text[found.end() :]


def _block(tokens: Sequence[Token], i: int) -> list[_Unit]:
    """The units of the block that is at `i`: a paragraph's sentences, code, HTML's text; nothing for other tokens."""
    token = tokens[i]
    if token.type == "paragraph_open":
        text = _inline(tokens[i + 1])
        # Without its bullet an item must still end somewhere: "Visa; Mastercard;"
        if i and tokens[i - 1].type == "list_item_open" and text and text[-1] not in ".!?:;,…。！？":
            text += ";"
    elif token.type in ("fence", "code_block"):
        text = token.content
    elif token.type == "html_block":
        text = _TAG.sub(" ", token.content)
    else:
        return []
    return _sentences(text, *_lines(token))


def _inline(token: Token) -> str:
    """An inline token as plain text: marks dropped, the text of links and code and the alt text of images kept."""
    parts: list[str] = []
    for child in token.children or ():
        if child.type in ("softbreak", "hardbreak"):
            parts.append(" ")
        elif child.type in ("text", "code_inline", "image", "text_special"):
            parts.append(child.content)
    return _flat("".join(parts))


def _cells(tokens: Sequence[Token], i: int) -> list[str]:
    cells: list[str] = []
    for token in tokens[i + 1 :]:
        if token.type == "tr_close":
            break
        if token.type == "inline":
            cells.append(_inline(token))
    return cells


def _row(header: Sequence[str], cells: Sequence[str]) -> str:
    named = (f"{head}: {cell}" if head else cell for head, cell in zip(header, cells, strict=False) if cell)
    return ", ".join(named) + ";"


def _lines(token: Token) -> tuple[int, int]:
    first, after = token.map or (0, 1)
    return first + 1, max(after, first + 1)


def _unit(text: str, token: Token) -> _Unit:
    return _Unit(text, *_lines(token))


# --- plain text and sizes -----------------------------------------------------------------------------------------


def _paragraphs(text: str) -> Iterator[tuple[int, int, str]]:
    """(first line, last line, text) of every run of lines that are not blank."""
    lines: list[str] = []
    number = 0
    for number, line in enumerate([*text.splitlines(), ""], 1):
        if line.strip():
            lines.append(line)
        elif lines:
            yield number - len(lines), number - 1, "\n".join(lines)
            lines = []


def _sentences(text: str, first: int, last: int) -> list[_Unit]:
    text = _flat(text)
    ends = [found.end() for found in _SENTENCE_END.finditer(text)]
    pieces = (text[start:end].strip() for start, end in zip([0, *ends], [*ends, len(text)], strict=True))
    return [unit for piece in pieces if piece for unit in _fitting(_Unit(piece, first, last))]


def _fitting(unit: _Unit) -> list[_Unit]:
    """`unit`, cut between words (and inside a word longer than any real one) where it alone exceeds a passage."""
    if unit.size <= MAX_WORDS:
        return [unit]
    pieces = [word[i : i + _LONGEST_WORD] for word in unit.text.split() for i in range(0, len(word), _LONGEST_WORD)]
    parts = _balanced([_Unit(piece, unit.first, unit.last) for piece in pieces])
    return [_Unit(" ".join(piece.text for piece in part), unit.first, unit.last) for part in parts]


def _passages(section: _Section) -> Iterator[Passage]:
    for part in _balanced(section.units):
        locator = section.heading or f"lines {part[0].first}-{max(unit.last for unit in part)}"
        yield Passage(section.title, " ".join(unit.text for unit in part), locator)


def _balanced(units: Sequence[_Unit]) -> list[list[_Unit]]:
    """`units` in runs of at most MAX_WORDS and about equal size, so that no part is a left-over of a few words."""
    total = sum(unit.size for unit in units)
    if not total:
        return []
    count = -(-total // MAX_WORDS)
    while len(parts := _runs(units, total / count)) > count:
        count = len(parts)
    if len(parts) > 1:
        _fill_up(parts[-2], parts[-1])
    return parts


def _runs(units: Sequence[_Unit], target: float) -> list[list[_Unit]]:
    """`units` in runs that end when they reach `target` words or before they exceed MAX_WORDS."""
    parts: list[list[_Unit]] = [[]]
    filled = 0
    for unit in units:
        if parts[-1] and (filled >= target or filled + unit.size > MAX_WORDS):
            parts.append([])
            filled = 0
        parts[-1].append(unit)
        filled += unit.size
    return parts


def _fill_up(before: list[_Unit], tail: list[_Unit]) -> None:
    """Move sentences from `before` into a `tail` below MIN_WORDS, as long as both end up with enough."""
    while sum(unit.size for unit in tail) < MIN_WORDS and len(before) > 1:
        moved = sum(unit.size for unit in tail) + before[-1].size
        if moved > MAX_WORDS or sum(unit.size for unit in before[:-1]) < MIN_WORDS:
            return
        tail.insert(0, before.pop())
