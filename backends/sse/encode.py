"""Events as SSE frames (WHATWG HTML, "Server-sent events"): bytes only, no sockets."""

from __future__ import annotations

from backends import events
from backends.events import Event

PING = b": ping\n\n"
"""A comment: keeps proxies and idle timers quiet, and no reader sees it."""


def frame(event: Event, number: int) -> bytes:
    """`event` as one frame: its name, its `id:` (`number`, from 1 in every stream), its JSON on one line."""
    return b"event: %b\nid: %d\ndata: %b\n\n" % (events.name(event).encode(), number, events.encode(event))
