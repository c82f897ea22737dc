"""How a stream's events stand on the wire: the native protocol, or somebody else's around the same events."""

from __future__ import annotations

from typing import Protocol

from backends.events import Event
from backends.sse.encode import frame
from backends.telemetry.timeline import Timeline

EVENT_STREAM = b"text/event-stream; charset=utf-8"


class Wire(Protocol):
    """The form of one stream. One whose first frame is not there yet has said nothing, its HTTP status included.

    `is_live`: whether it may begin before there is anything to say, so that pings can fill the silence.
    `is_resumable`: whether frames have numbers that a reader can come back with.
    """

    content_type: bytes
    is_live: bool
    is_resumable: bool

    def frame(self, event: Event, number: int) -> bytes:
        """The bytes for `event`, frame `number` of the stream; none where the form does not tell it."""
        ...


class NativeWire:
    """DESIGN.md, "Events": every event is a frame, and the first is there at once."""

    content_type = EVENT_STREAM
    is_live = True
    is_resumable = True

    def __init__(self, stream_id: str, timeline: Timeline) -> None:
        """It has no use for either."""

    def frame(self, event: Event, number: int) -> bytes:
        """See `Wire.frame`."""
        return frame(event, number)
