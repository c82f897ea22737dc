"""The one configured markdown-it parser: CommonMark, tables and strikethrough, no HTML.

HTML is off because nothing here can draw it: tags stay readable as the text that they are. So does mathematics: what
stands between ``$`` or ``\\(`` and its counterpart is text, in which no underscore or backslash means anything.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_inline import StateInline
    from markdown_it.token import Token

_FORMULA = re.compile(
    r"\$\$[^$]{1,2000}\$\$|\$(?=[^\s$])[^$\n]{0,499}(?<=\S)\$(?!\d)|\\\(.{1,500}?\\\)|\\\[[^$]{1,2000}?\\\]"
)

MAX_NESTING = 60
"""Token levels after which markdown-it drops what is nested deeper."""

References = dict[str, Any]
"""markdown-it's link definitions by normalized label."""


@cache
def parser() -> MarkdownIt:
    """The parser, imported and made at first use: a start should not wait for it."""
    from markdown_it import MarkdownIt

    md = MarkdownIt("commonmark", {"html": False, "maxNesting": MAX_NESTING}).enable(["table", "strikethrough"])
    md.inline.ruler.before("escape", "mathematics", _mathematics)
    return md


def _mathematics(state: StateInline, silent: bool) -> bool:
    """An inline rule that takes a formula as plain text. Prices (``$5 and $6``) are no formulas."""
    if state.src[state.pos] not in "$\\":
        return False
    found = _FORMULA.match(state.src, state.pos)
    if found is None or (found.group()[0] == "$" and not set(found.group()) & set("\\_^{=")):
        return False
    if not silent:
        state.pending += found.group()
    state.pos = found.end()
    return True


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
