"""Events on their way from the scheduler's thread to the readers.

Whatever happened in a step reaches the asyncio side with one wake-up, just before the next step computes: llama.cpp
lets go of Python's lock there, so the reader runs beside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from backends.engine.sequence import Mailbox, Sequence, append_joined
from backends.events import Done, Error, Event, Reasoning, Token

PUBLISH_INTERVAL = 0.004
"""Seconds between wake-ups of the reader while nothing but further tokens is new: a fast model would drown it."""

Publish = Callable[[list[tuple[Mailbox, list[Event]]]], None]


class Outbox:
    """Events not yet published, by reader. `live`: everybody who has not been told the end, by key."""

    def __init__(self, publish: Publish, live: dict[int, Sequence]) -> None:
        self._publish = publish
        self._live = live
        self._events: dict[Mailbox, list[Event]] = {}
        self._published = 0.0
        self.is_urgent = False

    def post(self, sequence: Sequence, event: Event) -> None:
        """Something that its reader should see soon. Hints have no reader."""
        if sequence.is_hint:
            return
        self._events.setdefault(sequence.mailbox, []).append(event)
        self.is_urgent = True

    def post_token(self, sequence: Sequence, token: Token | Reasoning) -> None:
        """Text, which may wait `PUBLISH_INTERVAL` for more."""
        append_joined(self._events.setdefault(sequence.mailbox, []), token)

    def conclude(self, sequence: Sequence, event: Done | Error) -> None:
        """The last word to `sequence`."""
        self._live.pop(sequence.key, None)
        self.post(sequence, event)

    @property
    def is_due(self) -> bool:
        """Whether the readers should be woken now."""
        return self.is_urgent or time.perf_counter() - self._published >= PUBLISH_INTERVAL

    def publish(self) -> None:
        """Wake the readers."""
        if self._events:
            batch, self._events = list(self._events.items()), {}
            self._publish(batch)
            self._published = time.perf_counter()
        self.is_urgent = False
