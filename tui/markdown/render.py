"""Block tokens as lines of segments: what a block looks like at a width."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from rich.segment import Segment
from rich.style import Style

from tui.markdown.flow import Line, Run, fold, pad, wrap
from tui.markdown.highlight import code_runs
from tui.markdown.inline import inline_runs
from tui.markdown.palette import Palette
from tui.markdown.parser import MAX_NESTING, References, parse
from tui.markdown.sanitize import sanitize
from tui.markdown.table import Table, table_lines
from tui.markdown.text_strip import Border, Ground, Opening

if TYPE_CHECKING:
    from markdown_it.token import Token

_BULLETS = "•◦▪"
_LEAST = 12  # cells: deeper nesting stops indenting
_TASKS = {"[ ] ": "☐ ", "[x] ": "☑ ", "[X] ": "☑ "}


def render(source: str, references: References, width: int, palette: Palette, *, final: bool = True) -> list[Line]:
    """`source` drawn in at most `width` cells; code is coloured only when `final`.

    Blocks stand one blank line apart; nothing stands before the first or after the last.
    """
    source = source.replace("\t", "    ")
    renderer = _Renderer(palette, final)
    lines: list[Line] = []
    for tokens in _siblings(parse(source, references)):
        if max(token.level for token in tokens) < MAX_NESTING - 2 or tokens[0].map is None:
            block = renderer.block(tokens, width, palette.text)
        else:  # the parser left out what is nested deeper: nothing may be hidden, so it is shown as it is
            raw = "\n".join(source.split("\n")[slice(*tokens[0].map)])
            block = wrap([(sanitize(raw), palette.text)], width)
        lines.extend([[], *block] if block and lines else block)
    return lines


class OpenFence:
    """A code fence whose end has not come yet, drawn plain and line by line: what is read once is not read again."""

    def __init__(self, start: int, width: int, palette: Palette) -> None:
        self._width = width
        self._palette = palette
        self._start = start
        self._read = 0
        self._indent = 0
        self._mark = ""
        self._opened = False  # whether the block's first line is drawn for good

    def read(self, source: str) -> tuple[list[Line], list[Line]]:
        """The lines of what `source`, which only ever grows, has completed since the last call; and of the rest."""
        whole: list[Line] = []
        if not self._read:
            opening = source[self._start :].partition("\n")[0]
            mark = opening.lstrip(" ")
            self._indent = len(opening) - len(mark)
            self._mark = mark[0]
            whole.extend(fence_label(fence_language(mark.lstrip("`~")), self._width, self._palette))
            self._read = self._start + len(opening) + 1
            self._opened = bool(whole)
        body, newline, last = source[self._read :].rpartition("\n")
        if newline:
            drawn = self._draw(body)
            whole.extend(drawn if self._opened else opened(drawn))
            self._read += len(body) + 1
            self._opened = True
        shown = last.strip(" \t" + self._mark)  # what may become the closing line is not drawn before it is known
        rest = self._draw(last) if shown else []
        return whole, rest if self._opened else opened(rest)

    def _draw(self, code: str) -> list[Line]:
        code = sanitize(code)
        if self._indent:
            code = re.sub(rf"^ {{1,{self._indent}}}", "", code, flags=re.MULTILINE)
        return fence_lines([(code, self._palette.fence)], self._width, self._palette)


def fence_language(info: str) -> str:
    """The language a fence's info string names, "" for none."""
    words = info.split()
    return sanitize(words[0]) if words else ""


def fence_label(language: str, width: int, palette: Palette) -> list[Line]:
    """The line that names the language, none without one."""
    if not language:
        return []
    margin = Opening(" ", palette.fence)
    return [
        pad([margin, *(Border(segment.text, segment.style) for segment in line)], width, palette.fence)
        for line in fold([(language, palette.fence_label)], width - 2)[:1]
    ]


def fence_lines(runs: Sequence[Run], width: int, palette: Palette) -> list[Line]:
    """Code on its ground, one cell of it at either side."""
    margin = Ground(" ", palette.fence)
    return [pad([margin, *line], width, palette.fence) for line in fold(runs, width - 2)]


def long_code_lines(text: str, width: int, palette: Palette, *, opening: bool) -> list[Line]:
    """Lines of a fence that is too long to be drawn in one go, uncoloured; `opening`: the first is the fence's own."""
    label: list[Line] = []
    if opening:
        info, _, text = text.partition("\n")
        label = fence_label(fence_language(info.lstrip(" `~")), width, palette)
    lines = fence_lines([(text.removesuffix("\n"), palette.fence)], width, palette)
    return [*label, *lines] if label or not opening else opened(lines)


def opened(lines: list[Line]) -> list[Line]:
    """Lines of code that have no label above them, the first one marked as the block's beginning."""
    return [[Opening(*lines[0][0]), *lines[0][1:]], *lines[1:]] if lines else []


class _Renderer:
    def __init__(self, palette: Palette, final: bool) -> None:
        self.palette = palette
        self.final = final

    def blocks(self, tokens: Sequence[Token], width: int, base: Style, depth: int = 0, gap: int = 1) -> list[Line]:
        """Sibling blocks, `gap` blank lines apart; `depth` counts the lists around them."""
        lines: list[Line] = []
        for sibling in _siblings(tokens):
            block = self.block(sibling, width, base, depth)
            if block and lines:
                lines.extend([] for _ in range(gap))
            lines.extend(block)
        return lines

    def block(self, tokens: Sequence[Token], width: int, base: Style, depth: int = 0) -> list[Line]:
        """One block, given by all its tokens."""
        first, inner = tokens[0], tokens[1:-1]
        match first.type:
            case "paragraph_open":
                return self._inline(inner, width, base)
            case "heading_open":
                return self._heading(first.tag, inner, width)
            case "fence" | "code_block":
                return self._code(first, width)
            case "bullet_list_open" | "ordered_list_open":
                return self._list(first, inner, width, base, depth)
            case "blockquote_open":
                return self._quote(inner, width, depth)
            case "table_open":
                return self._table(inner, width)
            case "hr":
                return [[Border("─" * width, self.palette.rule)]]
        return self._inline(tokens, width, base)

    def _inline(self, tokens: Sequence[Token], width: int, base: Style) -> list[Line]:
        runs = list(chain.from_iterable(inline_runs(token.children or (), base, self.palette) for token in tokens))
        return wrap(runs, width) if runs else []

    def _heading(self, tag: str, inner: Sequence[Token], width: int) -> list[Line]:
        styles = {"h1": self.palette.heading1, "h2": self.palette.heading2}
        return self._inline(inner, width, styles.get(tag, self.palette.heading3))

    def _code(self, token: Token, width: int) -> list[Line]:
        language = fence_language(token.info)
        code = sanitize(token.content).removesuffix("\n")
        runs: list[Run] = code_runs(code, language, self.palette) if self.final else [(code, self.palette.fence)]
        label = fence_label(language, width, self.palette)
        lines = fence_lines(runs, width, self.palette) if token.content or not label else []
        return [*label, *lines] if label else opened(lines)

    def _quote(self, inner: Sequence[Token], width: int, depth: int) -> list[Line]:
        palette = self.palette
        if width < _LEAST:
            return self.blocks(inner, width, palette.quote, depth)
        bar = Border("▎ ", palette.quote_bar)
        return [[bar, *line] for line in self.blocks(inner, width - 2, palette.quote, depth)]

    def _list(self, opening: Token, inner: Sequence[Token], width: int, base: Style, depth: int) -> list[Line]:
        number = int(opening.attrGet("start") or 1) if opening.type == "ordered_list_open" else None
        loose = any(
            token.type == "paragraph_open" and not token.hidden and token.level == opening.level + 2 for token in inner
        )
        lines: list[Line] = []
        for item in _siblings(inner):
            if number is None:
                marker = f" {_BULLETS[min(depth, len(_BULLETS) - 1)]} "
            else:
                marker = f"{number:>2}. "
                number += 1
            if lines and loose:
                lines.append([])
            lines.extend(self._item(item[1:-1], marker, width, base, depth + 1, int(loose)))
        return lines

    def _item(self, inner: Sequence[Token], marker: str, width: int, base: Style, depth: int, gap: int) -> list[Line]:
        marker, inner = _task(marker, inner)
        palette = self.palette
        indent = len(marker) if width - len(marker) >= _LEAST else 0
        content = self.blocks(inner, max(1, width - indent), base, depth, gap) or [[]]
        if not indent:
            return [*wrap([(marker.strip(), palette.bullet)], width), *content]
        first, *rest = content
        blank = Border(" " * indent, base)
        bullet = marker.lstrip()
        lead = Border(" " * (len(marker) - len(bullet)), palette.bullet)
        return [[lead, Segment(bullet, palette.bullet), *first], *([blank, *line] if line else [] for line in rest)]

    def _table(self, inner: Sequence[Token], width: int) -> list[Line]:
        rows: list[list[list[Run]]] = []
        align: list[str] = []
        for index, token in enumerate(inner):
            if token.type == "tr_open":
                rows.append([])
            elif token.type in ("th_open", "td_open"):
                head = token.type == "th_open"
                style = self.palette.text + Style(bold=True) if head else self.palette.text
                rows[-1].append(inline_runs(inner[index + 1].children or (), style, self.palette))
                if head:
                    align.append(str(token.attrGet("style") or "").removeprefix("text-align:") or "left")
        return table_lines(Table(rows, align), width, self.palette)


def _siblings(tokens: Sequence[Token]) -> Iterator[Sequence[Token]]:
    """The tokens of each block in turn, those of its content included."""
    index = 0
    while index < len(tokens):
        end = _end(tokens, index)
        yield tokens[index : end + 1]
        index = end + 1


def _end(tokens: Sequence[Token], index: int) -> int:
    """The index of the token that closes the block opened at `index`."""
    depth = 0
    for at in range(index, len(tokens)):
        depth += tokens[at].nesting
        if depth <= 0:
            return at
    return len(tokens) - 1


def _task(marker: str, inner: Sequence[Token]) -> tuple[str, Sequence[Token]]:
    """A task list's item: the box becomes its marker, and leaves its text."""
    if len(inner) < 2 or inner[1].type != "inline" or not inner[1].children:
        return marker, inner
    text = inner[1].children[0]
    box = _TASKS.get(text.content[:4]) if text.type == "text" else None
    if box is None:
        return marker, inner
    text.content = text.content[4:]
    return (f" {box}" if "." not in marker else marker + box), inner
