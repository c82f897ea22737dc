"""Syntax colours for code, from Pygments, of which a language is loaded when its first fence begins."""

from __future__ import annotations

from functools import lru_cache
from threading import Lock, Thread
from typing import TYPE_CHECKING

from rich.style import Style

from tui.markdown.blocks import Block
from tui.markdown.flow import Flow, Line, Run
from tui.markdown.layout import Layout
from tui.markdown.palette import Palette
from tui.markdown.render import code_of, fence_language, grounded, opened

if TYPE_CHECKING:
    from pygments.lexer import Lexer  # type: ignore[import-untyped]

LIMIT = 100_000
"""Longer code (characters) stays plain."""
BUDGET = 3_000
"""Characters that are coloured in one frame; longer code gets its colours over several."""

_LOADING = Lock()
"""A lexer's class makes its tables when it is first used, and does not expect that twice at the same time."""


class Colouring:
    """A fence on its way to colours, some of it at a time."""

    def __init__(self, block: Block, layout: Layout, lexer: Lexer, palette: Palette) -> None:
        self._block = block
        self._layout = layout
        self._palette = palette
        self._tokens = iter(lexer.get_tokens(code_of(block)))
        self._flow = Flow(layout.width - 2, cut=True)
        self._first = True
        self.done = False

    def lines(self, budget: int) -> tuple[list[Line], int]:
        """The next lines of code, of about `budget` characters, and what is left of that."""
        runs: list[Run] = []
        while budget > 0 and (token := next(self._tokens, None)) is not None:
            runs.append((token[1], _style(str(token[0]), self._palette)))
            budget -= len(token[1])
        self.done = budget > 0
        lines = [*self._flow.feed(runs), *(self._flow.rest() if self.done else ())]
        if not lines:
            return [], budget
        drawn = grounded(lines, self._layout.width, self._palette)
        first = self._first and not fence_language(self._block.info)
        self._first = False
        whole = self._layout.dress(opened(drawn) if first else drawn, self._block, first=first)
        return whole[-len(drawn) :], budget


def colouring(block: Block, layout: Layout, palette: Palette) -> Colouring | None:
    """Colours for `block`; None where it is no code of a known language, or very long."""
    language = fence_language(block.info) if block.kind == "fence" and block.lines else ""
    if not language or sum(map(len, block.lines)) > LIMIT or (lexer := _lexer(language)) is None:
        return None
    return Colouring(block, layout, lexer, palette)


def is_warm() -> bool:
    """Whether Pygments is there: the first language takes as long as everything else that a first page needs."""
    return _lexer.cache_info().currsize > 0


@lru_cache(maxsize=32)
def load_ahead(info: str) -> None:
    """Loads, in a thread, what a fence that has just begun will need at its end: that takes longer than a frame."""
    if language := fence_language(info):
        Thread(target=load, args=(language,), name=f"load {language[:20]}").start()


def load(language: str) -> None:
    """Imports Pygments and what it has for `language`, if anything. For any thread."""
    _lexer(language)


@lru_cache(maxsize=32)
def _lexer(language: str) -> Lexer | None:
    from pygments.lexers import get_lexer_by_name  # type: ignore[import-untyped]
    from pygments.util import ClassNotFound  # type: ignore[import-untyped]

    with _LOADING:
        try:
            return get_lexer_by_name(language, stripnl=False, ensurenl=False)
        except ClassNotFound:
            return None


@lru_cache(maxsize=512)
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
