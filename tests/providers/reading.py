"""How the tests read what a server of some dialect sends: piece by piece, without a socket."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from backends.events import Event


class Reader(Protocol):
    """A dialect's reader: the events of a piece that arrived at `now` (ms), and those of the body's end."""

    def read(self, data: str, now: float) -> list[Event]: ...

    def end(self, now: float) -> list[Event]: ...


def events_of(reader: Reader, pieces: Iterable[str], first_at: float = 100.0) -> list[Event]:
    """The events of `pieces` that arrive 10 ms apart, and of the end of the body."""
    found: list[Event] = []
    now = first_at
    for piece in pieces:
        found += reader.read(piece, now)
        now += 10.0
    return found + reader.end(now)


def of(kind: type[Any], found: list[Event]) -> list[Any]:
    """The events of one kind."""
    return [event for event in found if isinstance(event, kind)]
