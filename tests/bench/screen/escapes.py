"""Terminal escape sequences: taking them out of a stream of chunks, and a terminal's answers to queries."""

from __future__ import annotations

import re

_STRING = rb"\][^\x07\x1b]*(?:\x07|\x1b\\)|[PX^_][^\x1b]*\x1b\\"
_SEQUENCE = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|" + _STRING + rb"|[ -/]+[0-~]|[0-OQ-WY-Z\\`-~])")
_BEGUN = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]*\x1b?|[PX^_][^\x1b]*\x1b?|[ -/]*)?$")
_LOOK_BACK = 4096

# What pyte takes for text or for something else: private CSI, kitty's keyboard, DECRQM, colon colours, strings.
_UNKNOWN_TO_PYTE = re.compile(
    rb"\x1b(?:\[[<=>][0-?]*[ -/]*[@-~]|\[[0-?]*[ -/]+[@-~]|\[\?[0-9;]*[um]|\[[0-9;]*[tu]|\[[0-9;:]*:[0-9;:]*m|"
    + _STRING
    + rb")"
)

_KITTY = re.compile(rb"\x1b\[[>=](\d+)(?:;\d+)?u")
_QUERY = re.compile(
    rb"\x1b(?:\[0?(?P<device>c)|\[\?(?P<mode>\d+)\$p|\[\?(?P<kitty>u)|\](?P<colour>1[01]);\?(?:\x07|\x1b\\))"
)
_MODES = {b"2026": 2, b"2004": 2, b"1004": 2, b"1006": 2, b"25": 1, b"1049": 2}
_COLOURS = {b"10": b"dddd/dddd/dddd", b"11": b"1111/1111/1111"}


class Whole:
    """Cuts a stream of chunks so that no escape sequence is divided."""

    def __init__(self) -> None:
        self._begun = b""

    def feed(self, data: bytes) -> bytes:
        """What is whole by now; the rest comes with a later call."""
        data = self._begun + data
        found = _BEGUN.search(data, max(0, len(data) - _LOOK_BACK))
        self._begun = found.group() if found else b""
        return data[: found.start()] if found else data


def plain(data: bytes) -> bytes:
    """`data`, which has no divided sequence, without its escape sequences."""
    return _SEQUENCE.sub(b"", data)


def for_pyte(data: bytes) -> bytes:
    """`data`, which has no divided sequence, without what pyte does not understand."""
    return _UNKNOWN_TO_PYTE.sub(b"", data)


def kitty_flags(data: bytes) -> int | None:
    """The flags of kitty's keyboard protocol that `data` sets last; None when it sets none."""
    found = _KITTY.findall(data)
    return int(found[-1]) if found else None


def answers(data: bytes, kitty: int | None) -> bytes:
    """What a terminal says to the queries in `data`; `kitty`: its keyboard flags, None where it lacks that protocol."""
    out = b""
    for query in _QUERY.finditer(data):
        if query["device"]:
            out += b"\x1b[?62;22c"
        elif query["mode"]:
            out += b"\x1b[?%s;%d$y" % (query["mode"], _MODES.get(query["mode"], 0))
        elif query["colour"]:
            out += b"\x1b]%s;rgb:%s\x1b\\" % (query["colour"], _COLOURS[query["colour"]])
        elif kitty is not None:
            out += b"\x1b[?%du" % kitty
    return out
