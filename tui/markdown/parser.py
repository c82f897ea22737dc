"""The configured markdown-it parsers: for the text within a block, and for link definitions.

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

References = dict[str, Any]
"""markdown-it's link definitions by normalized label."""


@cache
def parser() -> MarkdownIt:
    """The parser, imported and made at first use: a start should not wait for it."""
    from markdown_it import MarkdownIt

    md = MarkdownIt("commonmark", {"html": False}).enable("strikethrough")
    md.inline.ruler.before("escape", "mathematics", _mathematics)
    return md


@cache
def _definition_parser() -> MarkdownIt:
    """Knows nothing but paragraphs and the link definitions that they begin with."""
    from markdown_it import MarkdownIt

    return MarkdownIt("zero").enable("reference")


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


def parse_inline(text: str, references: References) -> list[Token]:
    """The tokens of a block's text."""
    return parser().parseInline(text, {"references": references})[0].children or []


def split_definitions(lines: list[str]) -> tuple[References, list[str]]:
    """The link definitions that a paragraph begins with, and the lines behind them."""
    md = _definition_parser()
    found: References = {}
    tokens: list[Token] = []
    md.block.parse("\n".join(lines), md, {"references": found}, tokens)
    start = tokens[0].map[0] if tokens and tokens[0].map else len(lines)
    return found, lines[start:]


def labels_of(text: str) -> set[str]:
    """The labels, normalized, under which definitions for links in `text` would be looked up."""
    from markdown_it.common.utils import normalizeReference

    return {normalizeReference(label) for label in _LABEL.findall(text)}


_LABEL = re.compile(r"\[((?:[^\[\]\\]|\\.)+)\]", re.DOTALL)
