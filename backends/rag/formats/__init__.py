"""Documents of every format, read into sections: one file of this folder is one format, found by the file's suffix.

A format's module has ``sections(data, name)``; `data` are the file's bytes, `name` its name. What a format needs beyond
the standard library is imported when a file of it is read; where that is missing, the file is `Unreadable`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from backends.rag.sections import Section, Unreadable

SUFFIXES = {
    ".md": "markdown",
    ".markdown": "markdown",
    ".mdown": "markdown",
    ".txt": "text",
    ".text": "text",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".pdf": "pdf",
    ".docx": "docx",
}
"""A file name's end, in lower case -> its format, the name of the module here."""

MAX_BYTES = {"markdown": 4 << 20, "text": 4 << 20, "html": 8 << 20, "pdf": 64 << 20, "docx": 64 << 20}
"""The largest file of each format that is read."""

_NEEDS = {"pypdf": "pypdf", "docx": "python-docx"}
"""Modules of other people's that formats import -> the packages that have them."""


def format_of(suffix: str) -> str:
    """The format of a file whose name ends in `suffix`; what is not known is plain text."""
    return SUFFIXES.get(suffix.lower(), "text")


def read_sections(kind: str, data: bytes, name: str) -> list[Section]:
    """The sections of a document of format `kind`. Raises Unreadable, and what a broken file makes its parser raise."""
    try:
        module: Any = importlib.import_module(f"{__name__}.{kind}")
        sections: Callable[[bytes, str], list[Section]] = module.sections
        return sections(data, name)
    except ModuleNotFoundError as error:
        if (package := _NEEDS.get(error.name or "")) is None:
            raise
        raise Unreadable(f"it needs {package}: pip install 'llmchat[docs]'", lasting=False) from error
