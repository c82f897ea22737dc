"""What every format is read into: sections, and the sentences in them. Pure.

A section is what stands under one heading. It is cut further by `chunk`, which knows how large a passage may be.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

import msgspec

MAX_TITLE = 160

_SPACE = re.compile(r"[\s\0]+")
_SENTENCE_END = re.compile(r"[.!?…][\"'”’)\]]*\s+(?=[^\s\da-z])|[。！？]\s*")
_UNENDED = ".!?:;,…。！？"


class Unreadable(Exception):
    """A document that cannot be read; the message says why, in words for whoever put it there. `lasting`: as long as
    the file stays as it is."""

    def __init__(self, reason: str, *, lasting: bool = True) -> None:
        super().__init__(reason)
        self.lasting = lasting


class Unit(msgspec.Struct, frozen=True, array_like=True):
    """A sentence (or list item, or table row) with where it stands: lines or pages, counted from 1."""

    text: str
    first: int
    last: int


class Section(msgspec.Struct, array_like=True):
    """What stands under one heading. `title` is its place in the document ("Title > Heading"). `by`: what citations
    locate it by; lines and pages are those of the units."""

    heading: str
    title: str
    units: list[Unit]
    by: Literal["heading", "lines", "pages"] = "lines"


class Outline:
    """The sections of a document as its headings come by, in order."""

    def __init__(self, document: str) -> None:
        self.document = document[:MAX_TITLE]
        self._path: list[tuple[int, str]] = []
        self.sections: list[Section] = [Section("", self.document, [])]

    def heading(self, level: int, text: str) -> None:
        """A heading of that level (1 is the highest): a section begins."""
        self._path = [(depth, name) for depth, name in self._path if depth < level] + [(level, text)]
        names = [name for _, name in self._path if name and name != self.document]
        title = " > ".join([self.document, *names])[:MAX_TITLE]
        self.sections.append(Section(text, title, [], "heading" if text else "lines"))

    def add(self, text: str, first: int, last: int) -> None:
        """Text of the section that is open, standing there."""
        self.sections[-1].units.extend(sentences(text, first, last))

    def row(self, header: list[str], cells: list[str], first: int, last: int) -> None:
        """A table's row: ``Header: cell, Header: cell;``."""
        heads = [*header, *[""] * (len(cells) - len(header))]
        named = (f"{head}: {cell}" if head else cell for head, cell in zip(heads, cells, strict=False) if cell)
        if text := ", ".join(named):
            self.sections[-1].units.append(Unit(text + ";", first, last))


def title_from_name(name: str) -> str:
    """``guides/billing-faq.md`` -> ``Billing faq``."""
    stem = name.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    title = flat(stem.replace("-", " ").replace("_", " ")) or name
    return title[:1].upper() + title[1:]


def flat(text: str) -> str:
    """`text` on one line."""
    return _SPACE.sub(" ", text).strip()


def item(text: str) -> str:
    """A list item's text. Without its bullet it must still end somewhere: "Visa; Mastercard;"."""
    return f"{text};" if text and text[-1] not in _UNENDED else text


def sentences(text: str, first: int, last: int) -> list[Unit]:
    """The sentences of `text`, which stands at `first` to `last`."""
    text = flat(text)
    ends = [found.end() for found in _SENTENCE_END.finditer(text)]
    pieces = (text[start:end].strip() for start, end in zip([0, *ends], [*ends, len(text)], strict=True))
    return [Unit(piece, first, last) for piece in pieces if piece]


def paragraphs(text: str) -> Iterator[tuple[int, int, str]]:
    """(first line, last line, text) of every run of lines that are not blank."""
    lines: list[str] = []
    for number, line in enumerate([*text.splitlines(), ""], 1):
        if line.strip():
            lines.append(line)
        elif lines:
            yield number - len(lines), number - 1, "\n".join(lines)
            lines = []


def decoded(data: bytes) -> str:
    """Text in UTF-8. Raises Unreadable for anything else."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable(f"it is not UTF-8 text ({error.reason} at byte {error.start:,})") from error
    if "\0" in text:
        raise Unreadable("it is not a text file")
    return text
