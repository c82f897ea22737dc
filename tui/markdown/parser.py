"""The one configured markdown-it parser: CommonMark, tables and strikethrough, no HTML.

HTML is off because nothing here can draw it: tags stay readable as the text that they are.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

References = dict[str, Any]
"""markdown-it's link definitions by normalized label."""


@cache
def parser() -> MarkdownIt:
    """The parser, made at first use."""
    return MarkdownIt("commonmark", {"html": False, "maxNesting": 60}).enable(["table", "strikethrough"])


def parse(source: str, references: References) -> list[Token]:
    """All tokens of `source`; labels it does not define itself are looked up in `references`, which stays as it is."""
    return parser().parse(source, {"references": dict(references)})


def parse_blocks(source: str, references: References) -> tuple[list[Token], References]:
    """Block tokens only (inline content unparsed, so much cheaper), and `references` with those of `source` added."""
    known = dict(references)
    tokens: list[Token] = []
    md = parser()
    md.block.parse(source, md, {"references": known}, tokens)
    return tokens, known
