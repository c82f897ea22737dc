"""Bytes to lines, and lines to server-sent events (WHATWG HTML, "Interpreting an event stream"). Pure, no sockets.

httpx-sse reads the events. It is given a text in which every line ends in LF and every blank line ends an event, for
it would do two things otherwise: an event whose line ends in CR it holds back until more comes, so that it is lost with
the connection; and once an `id` was named, each blank line is an event to it, those behind comments too.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from typing import cast

import httpx
from httpx_sse import EventSource, ServerSentEvent

EVENT_STREAM = "text/event-stream"


class LineDecoder:
    """Puts lines together from UTF-8 in pieces of any size; a line is one only when its end has come: CRLF, LF or CR.

    A byte order mark at the beginning is left out, and what is no UTF-8 becomes U+FFFD.
    """

    def __init__(self) -> None:
        self._text = codecs.getincrementaldecoder("utf-8")("replace")
        self._begun = self._after_cr = False
        self._held: list[str] = []

    def feed(self, data: bytes) -> list[str]:
        """The lines that `data` completes, without their ends."""
        text = self._text.decode(data)
        if not text:
            return []
        if not self._begun:
            self._begun = True
            text = text.removeprefix("\ufeff")
        if self._after_cr:
            self._after_cr = False
            text = text.removeprefix("\n")
        if "\r" in text:
            self._after_cr = text.endswith("\r")
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        first, *others = text.split("\n")
        self._held.append(first)
        if not others:
            return []
        lines = ["".join(self._held), *others[:-1]]
        self._held = [others[-1]]
        return lines


class EventText:
    """Lines, as they are to be read by httpx-sse: see above. Comments are left out."""

    def __init__(self) -> None:
        self._has_data = self._has_name = False

    def of(self, lines: Iterable[str]) -> str:
        """The text for `lines`; '' where it comes to nothing."""
        return "".join(f"{given}\n" for line in lines if (given := self._given(line)) is not None)

    def _given(self, line: str) -> str | None:
        if line:
            self._has_data |= _is_field(line, "data")
            self._has_name |= _is_field(line, "event")
            return None if line[0] == ":" else line
        has_data, has_name = self._has_data, self._has_name
        self._has_data = self._has_name = False
        return "" if has_data else "event" if has_name else None


def _is_field(line: str, name: str) -> bool:
    return line.startswith(name) and line[len(name) : len(name) + 1] in ("", ":")


def events(pieces: Iterable[bytes]) -> Iterator[ServerSentEvent]:
    """The events of a body that comes in `pieces`; one that is not ended is none."""
    return EventSource(cast(httpx.Response, _Body(pieces))).iter_sse()


class _Body:
    """What `EventSource` asks of a response."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self.headers = {"content-type": EVENT_STREAM}
        self._pieces = pieces

    def iter_text(self) -> Iterator[str]:
        lines, text = LineDecoder(), EventText()
        return filter(None, (text.of(lines.feed(piece)) for piece in self._pieces))
