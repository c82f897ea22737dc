"""Markdown by CommonMark's rules (markdown-it), with tables; marks, links and list bullets become their text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from backends.rag.sections import Outline, Section, decoded, flat, item, title_from_name

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

_FRONT_MATTER = re.compile(r"\A---[ \t]*\n.*?\n(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_TAG = re.compile(r"<!--.*?(?:-->|\Z)|<[^>]*>", re.DOTALL)


@cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt  # only an index that has something to read needs it

    return MarkdownIt("commonmark").enable("table")


def sections(data: bytes, name: str) -> list[Section]:
    """The sections of a Markdown document; titled by its first heading, else by `name`. Raises Unreadable."""
    tokens = _parser().parse(_without_front_matter(decoded(data)))
    title = next((_inline(tokens[i + 1]) for i, token in enumerate(tokens) if token.tag == "h1"), "")
    outline = Outline(title or title_from_name(name))
    header: list[str] = []
    for i, token in enumerate(tokens):
        if token.type == "heading_open":
            outline.heading(int(token.tag[1:]), _inline(tokens[i + 1]))
        elif token.type == "tr_open":
            cells = _cells(tokens, i)
            if tokens[i + 1].type == "th_open":
                header = cells
            else:
                outline.row(header, cells, *_lines(token))
        elif text := _block(tokens, i):
            outline.add(text, *_lines(token))
    return outline.sections


def _without_front_matter(text: str) -> str:
    """`text` with a YAML block at its head blanked, line numbers kept."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    found = _FRONT_MATTER.match(text)
    return text if found is None else "\n" * found.group().count("\n") + text[found.end() :]


def _block(tokens: Sequence[Token], i: int) -> str:
    """The text of the block that is at `i`: a paragraph's, code, HTML's text; "" for other tokens."""
    token = tokens[i]
    if token.type == "paragraph_open":
        text = _inline(tokens[i + 1])
        return item(text) if i and tokens[i - 1].type == "list_item_open" else text
    if token.type in ("fence", "code_block"):
        return token.content
    return _TAG.sub(" ", token.content) if token.type == "html_block" else ""


def _inline(token: Token) -> str:
    """An inline token as plain text: marks dropped, the text of links and code and the alt text of images kept."""
    parts: list[str] = []
    for child in token.children or ():
        if child.type in ("softbreak", "hardbreak"):
            parts.append(" ")
        elif child.type in ("text", "code_inline", "image", "text_special"):
            parts.append(child.content)
    return flat("".join(parts))


def _cells(tokens: Sequence[Token], i: int) -> list[str]:
    cells: list[str] = []
    for token in tokens[i + 1 :]:
        if token.type == "tr_close":
            break
        if token.type == "inline":
            cells.append(_inline(token))
    return cells


def _lines(token: Token) -> tuple[int, int]:
    first, after = token.map or (0, 1)
    return first + 1, max(after, first + 1)
