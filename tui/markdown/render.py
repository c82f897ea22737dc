"""A block as lines of segments: what it looks like at a width."""

from __future__ import annotations

from collections.abc import Sequence

from rich.style import Style

from tui.markdown.blocks import Block, Item
from tui.markdown.flow import Line, Run, fold, pad, wrap
from tui.markdown.inline import inline_runs
from tui.markdown.layout import Layout
from tui.markdown.line_starts import cells_of
from tui.markdown.palette import Palette
from tui.markdown.parser import References, parse_inline
from tui.markdown.parts import LONG, long_runs
from tui.markdown.sanitize import sanitize, spaced
from tui.markdown.table import Row, table_lines
from tui.markdown.text_strip import Border, Ground, Opening

_BOLD = Style(bold=True)


def block_lines(block: Block, references: References, layout: Layout, palette: Palette) -> list[Line]:
    """`block`, complete, within its containers; code without colours."""
    return layout.dress(_content(block, references, layout, palette), block)


def _content(block: Block, references: References, layout: Layout, palette: Palette) -> list[Line]:
    width = layout.width
    match block.kind:
        case "paragraph" | "heading":
            text, style = text_of(block), text_style(block, layout, palette)
            draw = text_runs if len(block.text) < LONG else long_runs
            return wrap(draw(text, style, references, palette), width)
        case "fence" | "code":
            label = fence_label(fence_language(block.info), width, palette)
            code: list[Run] = [(code_of(block), palette.fence)]
            lines = grounded(fold(code, width - 2), width, palette) if block.lines or not label else []
            return [*label, *lines] if label else opened(lines)
        case "table":
            rows = [row_runs(row, index == 0, references, palette) for index, row in enumerate(block.lines)]
            return table_lines(rows, block.align, width, palette)
        case "rule":
            return [[Border("─" * width, palette.rule)]]
        case "empty":
            return [[]]


def text_style(block: Block, layout: Layout, palette: Palette) -> Style:
    """The style of a paragraph's or heading's plain text."""
    if block.kind != "heading":
        return layout.base
    return {1: palette.heading1, 2: palette.heading2}.get(block.level, palette.heading3)


def text_of(block: Block) -> str:
    """A paragraph's or heading's text, without the box of the task that it is."""
    return block.text.strip(" \t")[box_of(block) :]


def box_of(block: Block) -> int:
    """How many characters at the start of a block are drawn as a task's box."""
    item = block.path[-1] if block.path else None
    return len(item.box) if isinstance(item, Item) and block.leads(item) else 0


def text_runs(text: str, style: Style, references: References, palette: Palette) -> list[Run]:
    """Text within a block, drawn over `style`."""
    return inline_runs(parse_inline(text, references), style, palette)


def row_runs(line: str, head: bool, references: References, palette: Palette) -> Row:
    """A table's row, drawn."""
    style = palette.text + _BOLD if head else palette.text
    return [text_runs(cell, style, references, palette) for cell in cells_of(line)]


def code_of(block: Block) -> str:
    """The code of a block, as it may be drawn."""
    return spaced(block.text)


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


def grounded(lines: Sequence[Line], width: int, palette: Palette) -> list[Line]:
    """Folded lines of code on their ground."""
    margin = Ground(" ", palette.fence)
    return [pad([margin, *line], width, palette.fence) for line in lines]


def long_code_lines(text: str, width: int, palette: Palette, *, opening: bool) -> list[Line]:
    """Lines of a fence that is too long to be drawn in one go, uncoloured; `opening`: the first is the fence's own."""
    label: list[Line] = []
    if opening:
        info, _, text = text.partition("\n")
        label = fence_label(fence_language(info.lstrip(" `~")), width, palette)
    lines = grounded(fold([(text.removesuffix("\n"), palette.fence)], width - 2), width, palette)
    return [*label, *lines] if label or not opening else opened(lines)


def opened(lines: list[Line]) -> list[Line]:
    """Lines of code that have no label above them, the first one marked as the block's beginning."""
    return [[Opening(*lines[0][0]), *lines[0][1:]], *lines[1:]] if lines else []
