"""Who is told what happened: metrics, logs, traces."""

from __future__ import annotations

from typing import Protocol

from backends.serve.replies import Refusal
from backends.serve.stream import Stream


class Observer(Protocol):
    """Gets to know every request once, when it is over; must not fail, and not take long."""

    def ended(self, stream: Stream) -> None:
        """`stream` has had its last event; its timeline is complete."""
        ...

    def refused(self, refusal: Refusal) -> None:
        """A request was refused before it became a stream."""
        ...
