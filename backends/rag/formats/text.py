"""Plain text: one section, paragraphs as they stand."""

from __future__ import annotations

from backends.rag.sections import Section, decoded, paragraphs, sentences, title_from_name


def sections(data: bytes, name: str) -> list[Section]:
    """The one section of a plain text document, titled by the file's name. Raises Unreadable."""
    section = Section("", title_from_name(name), [])
    for first, last, paragraph in paragraphs(decoded(data)):
        section.units.extend(sentences(paragraph, first, last))
    return [section]
