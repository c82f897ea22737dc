"""The sample billing documents: the handbook with its first wordings and values, as Markdown files.

``python -m backends.demo.documents`` writes them again.
"""

from __future__ import annotations

import re

from backends.demo import DOCUMENTS
from backends.demo.corpus import sample_passage
from backends.demo.handbook import Document, handbook

_WORD = re.compile(r"[a-z0-9]+")


def render(document: Document) -> str:
    """One document of the sample company as Markdown: a ``##`` heading a section, one paragraph below it."""
    parts = [f"# {document.titles[0]}"]
    for section in document.sections:
        parts += [f"## {section.headings[0]}", sample_passage(section).text]
    return "\n\n".join(parts) + "\n"


def file_name(document: Document) -> str:
    """The name of its Markdown file, from its title."""
    return "-".join(_WORD.findall(document.titles[0].lower())) + ".md"


def main() -> None:
    """The command."""
    DOCUMENTS.mkdir(exist_ok=True)
    for document in handbook():
        (DOCUMENTS / file_name(document)).write_text(render(document), "utf-8")


if __name__ == "__main__":
    main()
