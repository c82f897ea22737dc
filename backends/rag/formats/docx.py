"""Word documents (.docx), by python-docx: paragraphs and tables in order, headings by their styles."""

from __future__ import annotations

import io
import re
import zipfile
from typing import TYPE_CHECKING

from backends.rag.sections import Outline, Section, Unreadable, flat, item, title_from_name

if TYPE_CHECKING:
    from docx.table import Table

MAX_UNPACKED = 256 << 20
MAX_PARTS = 10_000

_HEADING = re.compile(r"heading (\d)\Z", re.IGNORECASE)


def sections(data: bytes, name: str) -> list[Section]:
    """The sections of a document; citations name the heading, else the paragraphs by number. Raises Unreadable."""
    _check(data)
    from docx import Document
    from docx.table import Table

    document = Document(io.BytesIO(data))
    outline: Outline | None = None
    title = flat(document.core_properties.title or "")
    for number, block in enumerate(document.iter_inner_content(), 1):
        if isinstance(block, Table):
            outline = outline or Outline(title or title_from_name(name))
            _rows(outline, block, number)
            continue
        text = flat(block.text)
        style = str(block.style.name or "") if block.style is not None else ""
        level = 1 if style == "Title" else int(found[1]) if (found := _HEADING.match(style)) else 0
        if outline is None:
            outline = Outline(title or (text if level == 1 else "") or title_from_name(name))
        if level and text:
            outline.heading(level, text)
        elif text:
            outline.add(item(text) if style.startswith("List") else text, number, number)
    return outline.sections if outline is not None else []


def _check(data: bytes) -> None:
    """A zip file says how large its parts are, and reading stops there: bombs are known before they go off."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            parts = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise Unreadable(f"it is no Word document: {error}") from error
    if len(parts) > MAX_PARTS or sum(part.file_size for part in parts) > MAX_UNPACKED:
        raise Unreadable(f"unpacked it is larger than {MAX_UNPACKED >> 20} MiB")
    if any(part.flag_bits & 1 for part in parts):
        raise Unreadable("it is encrypted with a password")


def _rows(outline: Outline, table: Table, number: int) -> None:
    """Each row as ``Header: cell``, the first row being the headers."""
    rows = [[flat(cell.text) for cell in row.cells] for row in table.rows]
    if len(rows) == 1:
        outline.row([], rows[0], number, number)
    for cells in rows[1:]:
        outline.row(rows[0], cells, number, number)
