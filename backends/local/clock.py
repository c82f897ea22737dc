"""A child's stream on the clock of who asked, the child's start included. No clock of two processes is compared."""

from __future__ import annotations

import time

from backends.events import Event, Meta, Status, shifted
from backends.telemetry.stages import Span

_SEARCHING = frozenset({"retrieving", "reranking", "assembling"})


class Clock:
    """The child's events on the clock of our call, which was earlier by what the start took.

    `waited`: this answer waited for the start. That is part of `model_load`, as what the child spends on loading is:
    a derived span from the call to the first event past both, or to the start's end where documents are searched
    before the model is needed, since the child then reports its loading alone.
    """

    def __init__(self, called: float, *, waited: bool) -> None:
        self._called = called
        self._shift = _ms_since(called)
        self._waited = waited
        self._searched = False

    def translate(self, event: Event) -> list[Event]:
        """What to send for one event of the child."""
        events = [shifted(event, self._shift)]
        if self._waited and not isinstance(event, Meta) and not self._is_before_loaded(event):
            self._waited = False
            now = _ms_since(self._called)
            load = Span("model_load", 0.0, self._shift if self._searched else now, "derived")
            events.insert(0, Meta(latency=now, spans=(load,)))
        return events

    def _is_before_loaded(self, event: Event) -> bool:
        if isinstance(event, Status) and event.status in _SEARCHING:
            self._searched = True
            return True
        return isinstance(event, Status) and event.status in ("connecting", "loading")


def _ms_since(called: float) -> float:
    return (time.perf_counter() - called) * 1000
