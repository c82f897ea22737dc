"""Syntax colours for code, from Pygments, imported when the first finished fence needs it."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from rich.style import Style

from tui.markdown.flow import Run
from tui.markdown.palette import Palette

if TYPE_CHECKING:
    from pygments.lexer import Lexer  # type: ignore[import-untyped]

LIMIT = 40_000
"""Longer code (characters) stays plain: some lexers are slow on what they do not expect."""


def code_runs(code: str, language: str, palette: Palette) -> list[Run]:
    """`code` in the colours of `language`; plain where that is unknown or the code is very long."""
    plain = [(code, palette.fence)]
    if not language or len(code) > LIMIT:
        return plain
    lexer = _lexer(language)
    if lexer is None:
        return plain
    return [(text, _style(str(kind), palette)) for kind, text in lexer.get_tokens(code)] or plain


@lru_cache(maxsize=32)
def _lexer(language: str) -> Lexer | None:
    from pygments.lexers import get_lexer_by_name  # type: ignore[import-untyped]
    from pygments.util import ClassNotFound  # type: ignore[import-untyped]

    try:
        return get_lexer_by_name(language, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return None


def _style(kind: str, palette: Palette) -> Style:
    """The role of a Pygments token type, by its dotted name."""
    for prefix, style in (
        ("Token.Comment", palette.comment),
        ("Token.Keyword", palette.keyword),
        ("Token.Operator.Word", palette.keyword),
        ("Token.Literal.String", palette.string),
        ("Token.Literal.Number", palette.number),
        ("Token.Name.Function", palette.name),
        ("Token.Name.Class", palette.name),
        ("Token.Name.Decorator", palette.name),
        ("Token.Name.Tag", palette.name),
        ("Token.Name.Attribute", palette.name),
        ("Token.Generic.Inserted", palette.string),
        ("Token.Generic.Deleted", palette.number),
        ("Token.Generic.Heading", palette.keyword),
    ):
        if kind.startswith(prefix):
            return style
    return palette.fence
