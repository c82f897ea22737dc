"""What a whole text looks like when markdown-it reads it at once: what reading it line by line has to come to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.tui.transcript.markdown_text import PLAIN
from tui.markdown.blocks import Block, Container, Item, Listing, Quote, gap
from tui.markdown.layout import Layout
from tui.markdown.line_starts import BOX
from tui.markdown.render import block_lines
from tui.markdown.sanitize import scrub
from tui.markdown.text_strip import TextStrip, to_strip

_PARSER = MarkdownIt("commonmark", {"html": False, "maxNesting": 1000}).enable("table")


def reference(text: str, width: int) -> list[TextStrip]:
    """The strips of `text`, without colours."""
    references: dict[str, object] = {}
    tokens: list[Token] = []
    _PARSER.block.parse(scrub(text), _PARSER, {"references": references}, tokens)
    blocks = list(_blocks(tokens, (), scrub(text).split("\n")))
    strips: list[TextStrip] = []
    above: Block | None = None
    for block in blocks:
        layout = Layout(block.path, width, PLAIN)
        lines = block_lines(block, references, layout, PLAIN)
        if not lines:
            continue
        if above is not None:
            space, shared = gap(above, block)
            strips.extend(to_strip(layout.blank(shared), 0, PLAIN) for _ in range(space))
        strips.extend(to_strip(line, 0, PLAIN) for line in lines)
        above = block
    return strips


def _blocks(tokens: Sequence[Token], path: tuple[Container, ...], lines: Sequence[str]) -> Iterator[Block]:
    """The blocks in `tokens`, the content of the innermost container of `path`."""
    at = 0
    while at < len(tokens):
        token, end = tokens[at], _end(tokens, at)
        inner = tokens[at + 1 : end]
        at = end + 1
        match token.type:
            case "blockquote_open":
                yield from _blocks(inner, (*path, Quote()), lines)
            case "bullet_list_open" | "ordered_list_open":
                yield from _list(token, inner, path, lines)
            case "paragraph_open":
                yield Block("paragraph", path, _lines(inner[0].content))
            case "heading_open":
                yield Block("heading", path, _lines(inner[0].content), level=int(token.tag[1]))
            case "fence" | "code_block":
                code = token.content.removesuffix("\n").split("\n") if token.content else []
                yield Block("fence" if token.type == "fence" else "code", path, code, info=token.info)
            case "hr":
                yield Block("rule", path)
            case "table_open":
                yield _table(inner, path)


def _list(opening: Token, inner: Sequence[Token], path: tuple[Container, ...], lines: Sequence[str]) -> Iterator[Block]:
    direct = [token for token in inner if token.type == "paragraph_open" and token.level == opening.level + 2]
    loose = not all(token.hidden for token in direct) if direct else _apart(opening, inner, lines)
    ordered = opening.type == "ordered_list_open"
    start = int(opening.attrGet("start") or (0 if opening.attrs else 1)) if ordered else None
    listing = Listing(opening.markup, start, 0, loose=loose)
    at = 0
    while at < len(inner):
        end = _end(inner, at)
        item = Item(listing, 0, None if start is None else start + listing.count)
        listing.count += 1
        content = inner[at + 1 : end]
        if content and content[0].type == "paragraph_open" and (box := BOX.match(content[1].content)):
            item.box = box.group()
        blocks = list(_blocks(content, (*path, item), lines)) or [Block("empty", (*path, item))]
        item.lead = blocks[0]
        yield from blocks
        at = end + 1


def _apart(opening: Token, inner: Sequence[Token], lines: Sequence[str]) -> bool:
    """Whether a list without paragraphs, of which markdown-it does not tell, has blank lines between its parts."""
    starts = {
        item.map[0] for item in inner if item.type == "list_item_open" and item.level == opening.level + 1 and item.map
    }
    for token in inner:
        if token.map and token.nesting >= 0 and token.level in (opening.level + 1, opening.level + 2):
            first = token.map[0]
            beside_marker = token.level == opening.level + 2 and first in starts
            if first > opening.map[0] and not beside_marker and not lines[first - 1].strip(" \t>"):
                return True
    return False


def _table(inner: Sequence[Token], path: tuple[Container, ...]) -> Block:
    align: list[str] = []
    rows: list[list[str]] = []
    for at, token in enumerate(inner):
        if token.type == "tr_open":
            rows.append([])
        elif token.type in ("th_open", "td_open"):
            rows[-1].append(inner[at + 1].content.replace("|", "\\|"))
            if token.type == "th_open":
                align.append(str(token.attrGet("style") or "").removeprefix("text-align:") or "left")
    return Block("table", path, ["| " + " | ".join(row) + " |" for row in rows], align=tuple(align))


def _end(tokens: Sequence[Token], at: int) -> int:
    """The index of the token that closes the block opened at `at`."""
    depth = 0
    for index in range(at, len(tokens)):
        depth += tokens[index].nesting
        if depth <= 0:
            return index
    return len(tokens) - 1


def _lines(content: str) -> list[str]:
    """A paragraph's lines without the blanks before them, which markdown-it takes away only later, in inline rules."""
    return [line.lstrip(" \t") for line in content.split("\n")]
