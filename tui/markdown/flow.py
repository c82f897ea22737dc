"""Styled text flowed into lines of a given width in terminal cells.

A *run* is ``(text, style)``; a run's text may hold ``\\n``, which ends a line. A *line* is a list of rich Segments; one
that goes on where the line above was broken begins with a seam (see `text_strip`).
Cell widths are those of `rich.cells`, as in Textual, so wide, combining and joined characters agree everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from rich.cells import cell_len, split_graphemes
from rich.segment import Segment
from rich.style import Style

from tui.markdown.text_strip import BLANK_SEAM, CUT_SEAM, Border

Run = tuple[str, Style]
Line = list[Segment]

_WORD = re.compile(r"[^ ]+ *| +")
_WIDE = re.compile(
    "[\u1100-\u115f\u2e80-\u303e\u3041-\uabff\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff60\uffe0-\uffe6]"
)
_NO_BREAK_BEFORE = frozenset("、。，．・：；？！）］｝」』】〕〉》…ー々ぁぃぅぇぉっゃゅょァィゥェォッャュョ")


def wrap(runs: Sequence[Run], width: int) -> list[Line]:
    """`runs` as lines at most `width` cells wide, broken between words, inside one only where it has to be.

    Blanks at a break are dropped, all others kept. A character wider than `width` stands alone on its line.
    """
    width = max(1, width)
    lines: list[Line] = []
    for paragraph in _paragraphs(runs):
        text = "".join(piece for piece, _ in paragraph)
        spans = _spans(text, width)
        lines.extend(_seamed(_slices(paragraph, spans), spans))
    return lines


def fold(runs: Sequence[Run], width: int) -> list[Line]:
    """`runs` as lines cut at exactly `width` cells, blanks kept: for code."""
    width = max(1, width)
    lines: list[Line] = []
    for paragraph in _paragraphs(runs):
        text = "".join(piece for piece, _ in paragraph)
        spans = _cuts(text, 0, len(text), width)
        lines.extend(_seamed(_slices(paragraph, spans), spans))
    return lines


class Flow:
    """Text that grows, flowed into lines: what is complete is given once, and only the last line is flowed again.

    `cut` is for code: lines are then cut as `fold` does, else broken as `wrap` does.
    """

    def __init__(self, width: int, *, cut: bool = False) -> None:
        self._width = max(1, width)
        self._cut = cut
        self._last: list[Run] = []  # the text of the last line, with the blanks behind it
        self._seam: Segment | None = None  # what that line begins with

    def feed(self, runs: Sequence[Run]) -> list[Line]:
        """Adds text; the lines that no further text can change."""
        *whole, last = _paragraphs([*self._last, *runs])
        lines: list[Line] = []
        for paragraph in whole:
            lines.extend(self._lines(paragraph, self._spans(paragraph)))
            self._seam = None
        spans = self._spans(last)
        done = self._lines(last, spans)[:-1]
        if done:
            lines.extend(done)
            self._seam = CUT_SEAM if spans[-1][0] == spans[-2][1] else BLANK_SEAM
            last = [(segment.text, segment.style or Style.null()) for segment in _tail(last, spans[-1][0])]
        self._last = last
        return lines

    def rest(self, runs: Sequence[Run] = ()) -> list[Line]:
        """The lines behind those that are complete, as they would be if the text ended with `runs`."""
        seam = self._seam
        lines: list[Line] = []
        for paragraph in _paragraphs([*self._last, *runs]):
            lines.extend(self._lines(paragraph, self._spans(paragraph)))
            self._seam = None
        self._seam = seam
        return lines

    def _spans(self, runs: Sequence[Run]) -> list[tuple[int, int]]:
        text = "".join(piece for piece, _ in runs)
        return _cuts(text, 0, len(text), self._width) if self._cut else _spans(text, self._width)

    def _lines(self, runs: Sequence[Run], spans: Sequence[tuple[int, int]]) -> list[Line]:
        lines = list(_seamed(_slices(runs, spans), spans))
        if self._seam is not None:
            lines[0].insert(0, self._seam)
        return lines


def _tail(runs: Sequence[Run], start: int) -> Line:
    """The segments of the joined `runs` from index `start` on."""
    end = sum(len(text) for text, _ in runs)
    return next(_slices(runs, [(start, end)]), [])


def width_of(line: Iterable[Segment]) -> int:
    """Cells that `line` takes."""
    return sum(cell_len(segment.text) for segment in line)


def pad(line: Line, width: int, style: Style) -> Line:
    """`line` filled up to `width` cells with blanks in `style`."""
    missing = width - width_of(line)
    return [*line, Border(" " * missing, style)] if missing > 0 else line


def _seamed(lines: Iterable[Line], spans: Sequence[tuple[int, int]]) -> Iterator[Line]:
    """`lines`, the slices at `spans` of one text, each but the first with its seam."""
    end = None
    for line, span in zip(lines, spans, strict=True):
        if end is not None:
            line.insert(0, CUT_SEAM if span[0] == end else BLANK_SEAM)
        end = span[1]
        yield line


def _paragraphs(runs: Sequence[Run]) -> Iterator[list[Run]]:
    current: list[Run] = []
    for text, style in runs:
        first, *rest = text.split("\n")
        if first:
            current.append((first, style))
        for piece in rest:
            yield current
            current = [(piece, style)] if piece else []
    yield current


def _spans(text: str, width: int) -> list[tuple[int, int]]:
    """Index spans of `text`, one per line."""
    if not text:
        return [(0, 0)]
    if text.isascii() and len(text) <= width:
        return [(0, len(text))]
    spans: list[tuple[int, int]] = []
    start = end = 0  # the line so far is text[start:end], `used` cells with its blanks
    used = 0
    for left, bare, right, cells, blanks in _words(text):
        if end > start and used + cells > width:
            spans.append((start, end))
            start, used = left, 0
        if cells > width:
            *full, (start, _) = _cuts(text, left, bare, width)
            spans.extend(full)
            cells = cell_len(text[start:bare])
        end = bare
        used += cells + blanks
        if bare == left:  # blanks that begin the text are indentation
            end = min(right, left + width)
    spans.append((start, end))
    return spans


def _words(text: str) -> Iterator[tuple[int, int, int, int, int]]:
    """Unbreakable pieces as ``(start, end without blanks, end, cells without blanks, blanks)``."""
    for match in _WORD.finditer(text):
        left, right = match.span()
        word = match.group()
        bare = word.rstrip(" ")
        blanks = len(word) - len(bare)
        if word.isascii() or _WIDE.search(bare) is None:
            cells = len(bare) if bare.isascii() else cell_len(bare)
            yield left, left + len(bare), right, cells, blanks
            continue
        pieces = list(_wide_pieces(bare))
        for index, (begin, end) in enumerate(pieces):
            last = index == len(pieces) - 1
            yield left + begin, left + end, right if last else left + end, cell_len(bare[begin:end]), blanks * last


def _wide_pieces(word: str) -> Iterator[tuple[int, int]]:
    """A word with East Asian characters may break beside each of them, but not before closing punctuation."""
    begin = 0
    for start, _, _ in split_graphemes(word)[0]:
        if start == begin or word[start] in _NO_BREAK_BEFORE:
            continue
        if _WIDE.match(word[start]) or _WIDE.match(word[start - 1]):
            yield begin, start
            begin = start
    yield begin, len(word)


def _cuts(text: str, start: int, end: int, width: int) -> list[tuple[int, int]]:
    """``text[start:end]`` cut into spans of at most `width` cells at grapheme borders; at least one span."""
    if text.isascii():
        return [(at, min(end, at + width)) for at in range(start, end, width)] or [(start, end)]
    spans: list[tuple[int, int]] = []
    begin, used = start, 0
    for left, _, cells in split_graphemes(text[start:end])[0]:
        if used and used + cells > width:
            spans.append((begin, start + left))
            begin, used = start + left, 0
        used += cells
    spans.append((begin, end))
    return spans


def _slices(runs: Sequence[Run], spans: Sequence[tuple[int, int]]) -> Iterator[Line]:
    """The segments of each span of the joined `runs`."""
    index = offset = 0
    for start, end in spans:
        line: Line = []
        while index < len(runs) and offset + len(runs[index][0]) <= start:
            offset += len(runs[index][0])
            index += 1
        at, base = index, offset
        while at < len(runs) and base < end:
            text, style = runs[at]
            piece = text[max(0, start - base) : end - base]
            if piece:
                line.append(Segment(piece, style))
            base += len(text)
            at += 1
        yield line
