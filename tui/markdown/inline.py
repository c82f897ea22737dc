"""A paragraph's inline tokens as styled runs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from rich.style import Style

from tui.markdown.flow import Run
from tui.markdown.links import linked, real_target
from tui.markdown.palette import Palette
from tui.markdown.sanitize import sanitize

if TYPE_CHECKING:
    from markdown_it.token import Token

_ADDED = {"strong_open": Style(bold=True), "em_open": Style(italic=True), "s_open": Style(strike=True)}
_BREAK = re.compile(r" ?<br ?/?> ?", re.IGNORECASE)
_SPECIAL = re.compile(r"\[S\d{1,3}(?:[,;] ?S\d{1,3})*\]|https?://[^\s<>\"'`]+", re.IGNORECASE)
_CITED = re.compile(r"S\d{1,3}")


def inline_runs(tokens: Sequence[Token], base: Style, palette: Palette) -> list[Run]:
    """`tokens`, the children of an inline token, drawn over `base`.

    A line break in the source stays one: models end a line where they mean it, they do not wrap. Links get OSC 8
    targets for http, https and mailto only, and show them where their text names another host; citation marks like
    ``[S1]`` carry ``{"citation": "S1"}`` as meta.
    """
    runs: list[Run] = []
    styles = [base]
    links: list[tuple[int, str]] = []
    for token in tokens:
        kind = token.type
        if kind == "text":
            text = _BREAK.sub("\n", sanitize(token.content))
            runs.extend([(text, styles[-1])] if links else _text_runs(text, styles[-1], palette))
        elif kind in ("softbreak", "hardbreak"):
            runs.append(("\n", base))
        elif kind == "code_inline":
            runs.append((sanitize(token.content), styles[-1] + palette.code))
        elif kind == "link_open":
            target = str(token.attrGet("href") or "")
            links.append((len(runs), target))
            link = linked(target)
            styles.append(styles[-1] + palette.link + link if link else styles[-1])
        elif kind == "link_close":
            styles.pop()
            start, target = links.pop()
            if shown := real_target("".join(text for text, _ in runs[start:]), target):
                runs.append((f" ({shown})", base + palette.muted))
        elif kind == "image":
            style = styles[-1] + palette.link + linked(str(token.attrGet("src") or ""))
            runs.append((f"[image: {sanitize(token.content) or 'untitled'}]", style))
        elif kind in _ADDED:
            styles.append(styles[-1] + _ADDED[kind])
        elif token.nesting == -1 and len(styles) > 1:
            styles.pop()
        elif token.content:
            runs.append((sanitize(token.content), styles[-1]))
    return runs


@lru_cache(maxsize=256)
def cited(mark: str) -> Style:
    """The meta that makes a click on a citation mark known."""
    return Style.from_meta({"citation": mark})


def _text_runs(text: str, style: Style, palette: Palette) -> Iterator[Run]:
    at = 0
    for match in _SPECIAL.finditer(text) if "[" in text or "://" in text else ():
        if match.start() > at:
            yield text[at : match.start()], style
        at = match.end()
        found = match.group()
        if found.startswith("["):
            yield from _citation_runs(found, style + palette.citation)
        else:
            url = found.rstrip(".,;:!?)*_]")
            at -= len(found) - len(url)
            yield url, style + palette.link + linked(url)
            if shown := real_target(url, url):
                yield f" ({shown})", style + palette.muted
    if at < len(text):
        yield text[at:], style


def _citation_runs(found: str, style: Style) -> Iterator[Run]:
    """``[S1, S2]`` as one run per mark, so that each can be clicked."""
    marks = list(_CITED.finditer(found.upper()))
    for index, mark in enumerate(marks):
        start = 0 if index == 0 else mark.start()
        end = len(found) if index == len(marks) - 1 else marks[index + 1].start()
        yield found[start:end], style + cited(mark.group())
