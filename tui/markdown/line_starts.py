"""How a line of Markdown may begin, after CommonMark 0.31 (https://spec.commonmark.org) and GitHub's tables."""

from __future__ import annotations

import re

RULE = re.compile(r"(?:(?:\*[ \t]*){3,}|(?:_[ \t]*){3,}|(?:-[ \t]*){3,})\Z")
HEADING = re.compile(r"(#{1,6})(?:[ \t]+|\Z)")
HEADING_END = re.compile(r"(?:^|[ \t]+)#+[ \t]*\Z")
UNDERLINE = re.compile(r"(=+|-+)[ \t]*\Z")
FENCE = re.compile(r"(`{3,})([^`]*)\Z|(~{3,})(.*)\Z")
MARKER = re.compile(r"([*+-])|(\d{1,9})([.)])")
DEFINITION = re.compile(r"\[(?:[^\[\]\\]|\\.)+\]:", re.DOTALL)
BOX = re.compile(r"\[[ xX]\] (?=\S)")
MAX_COLUMNS = 200
"""Columns of a table; with more of them it is text."""
_DELIMITER = re.compile(r"[|:-][|: \t-]+\Z")
_ALIGNMENT = re.compile(r":?-+:?\Z")


def indent_of(rest: str, column: int) -> int:
    """Columns of blanks that `rest`, which begins at `column`, begins with; tabs stop at every fourth."""
    at = column
    for char in rest:
        if char == " ":
            at += 1
        elif char == "\t":
            at += 4 - at % 4
        else:
            break
    return at - column


def skip(rest: str, column: int, count: int) -> tuple[str, int]:
    """`rest` without up to `count` columns of blanks, and the column where it then begins; half a tab is spaces."""
    at, end, index = column, column + count, 0
    while at < end and index < len(rest) and rest[index] in " \t":
        at += 1 if rest[index] == " " else 4 - at % 4
        index += 1
    return " " * (at - end) + rest[index:], min(at, end)


def heading_text(line: str, match: re.Match[str]) -> str:
    """The text of an ATX heading."""
    return HEADING_END.sub("", line[match.end() :]).strip(" \t")


def cells_of(row: str) -> list[str]:
    """A table row's cells."""
    row = row.strip(" \t")
    pieces: list[str] = []
    cell: list[str] = []
    escaped = False
    for char in row:
        if char == "|":
            if escaped:
                cell[-1] = "|"
            else:
                pieces.append("".join(cell))
                cell = []
        else:
            cell.append(char)
        escaped = char == "\\"
    pieces.append("".join(cell))
    if pieces and not pieces[0]:
        pieces.pop(0)
    if pieces and not pieces[-1]:
        pieces.pop()
    return [piece.strip(" \t") for piece in pieces[:MAX_COLUMNS]]


def alignments(head: str, line: str) -> tuple[str, ...]:
    """What a delimiter row says of the columns under `head`; () when the two are no table."""
    if not 0 < head.count("|") <= MAX_COLUMNS or _DELIMITER.match(line) is None or line[:2] in ("- ", "-\t"):
        return ()
    columns = [column.strip(" \t") for column in line.split("|")]
    columns = columns[not columns[0] : len(columns) - (len(columns) > 1 and not columns[-1])]
    if not all(_ALIGNMENT.match(column) for column in columns) or len(columns) != len(cells_of(head)):
        return ()
    return tuple(_SIDES[column.startswith(":"), column.endswith(":")] for column in columns)


_SIDES = {(False, False): "left", (True, False): "left", (False, True): "right", (True, True): "center"}
