"""PDF, by pypdf: text by pages, headings from the document's outline; citations name the page."""

from __future__ import annotations

import io
import logging
import re
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from backends.rag.sections import Outline, Section, Unreadable, flat, title_from_name

if TYPE_CHECKING:
    from pypdf import PdfReader

MAX_PAGES = 2_000
MAX_CHARACTERS = 20_000_000

_HYPHEN = re.compile(r"(?<=\w)-\n(?=[a-z])")
_NUMBER = re.compile(r"\d+")
_EDGE = 2  # lines at the top and bottom of a page that may be a header or footer


def sections(data: bytes, name: str) -> list[Section]:
    """The sections of a PDF. Raises Unreadable for one that is encrypted, has too many pages, or no text."""
    from pypdf import PdfReader

    logging.getLogger("pypdf").setLevel(logging.ERROR)  # it warns of every oddity that it puts up with
    reader = PdfReader(io.BytesIO(data))
    if reader.is_encrypted and not reader.decrypt(""):
        raise Unreadable("it is encrypted with a password")
    if len(reader.pages) > MAX_PAGES:
        raise Unreadable(f"it has {len(reader.pages):,} pages, the limit is {MAX_PAGES:,}")
    outline = Outline(_title(reader) or title_from_name(name))
    outline.sections[0].by = "pages"
    starts = _outline(reader)
    for number, text in enumerate(_without_margins(list(_pages(reader))), 1):
        for level, heading in starts.get(number, ()):
            outline.heading(level, heading)
            outline.sections[-1].by = "pages"
        outline.add(_HYPHEN.sub("", text), number, number)
    if not any(section.units for section in outline.sections):
        raise Unreadable("it has no text, only pictures: it needs OCR first")
    return outline.sections


def _title(reader: PdfReader) -> str:
    title = reader.metadata.title if reader.metadata else None
    return flat(title) if isinstance(title, str) else ""


def _pages(reader: PdfReader) -> Iterator[str]:
    read = 0
    for page in reader.pages:
        text = page.extract_text()
        read += len(text)
        if read > MAX_CHARACTERS:
            raise Unreadable(f"it has more than {MAX_CHARACTERS:,} characters")
        yield text


def _without_margins(pages: list[str]) -> Iterator[str]:
    """`pages` without the lines that stand at the edge of most of them: headers, footers, page numbers."""
    edges = [_edges(page) for page in pages]
    common = Counter(edge for page in edges for edge in page)
    dropped = {edge for edge, count in common.items() if len(pages) >= 3 and count > len(pages) / 2}
    for page in pages:
        lines = page.splitlines()
        last = len(lines) - _EDGE
        yield "\n".join(line for i, line in enumerate(lines) if _EDGE <= i < last or _numberless(line) not in dropped)


def _edges(page: str) -> set[str]:
    lines = page.splitlines()
    return {_numberless(line) for line in (*lines[:_EDGE], *lines[-_EDGE:])}


def _numberless(line: str) -> str:
    return _NUMBER.sub("#", flat(line))


def _outline(reader: PdfReader) -> dict[int, list[tuple[int, str]]]:
    """Page number -> (level, heading) of the outline's entries on it."""
    from pypdf.errors import PyPdfError

    found: dict[int, list[tuple[int, str]]] = {}
    try:
        waiting: list[tuple[Any, int]] = [(entry, 1) for entry in reversed(reader.outline)]
        while waiting:
            entry, level = waiting.pop()
            if isinstance(entry, list):
                waiting += [(each, level + 1) for each in reversed(entry)]
            elif (page := reader.get_destination_page_number(entry)) is not None and page >= 0:
                found.setdefault(page + 1, []).append((level, flat(str(entry.title or ""))))
    except (PyPdfError, ValueError, TypeError, KeyError, AttributeError):  # a broken outline: the text is what counts
        return {}
    return found
