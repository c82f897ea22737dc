"""A server's spans on the client's clock. Pure.

Only durations and offsets cross the wire, and a one-way time cannot be measured. What can be: at `received` the client
gets an event that the server sent `latency` after the request had reached it. What the client waited beyond that is the
network's round trip, put as a whole before the server's work, so that network + the server's stages add up to what the
client waited, exactly. Of several measurements the earliest arrival is the truest: whatever delays an event on its way
only adds. When the sending seemed to end does not bound it: a busy client notes that late.
"""

from __future__ import annotations

import msgspec

from backends.events import Meta
from backends.telemetry.stages import PARTS, Span

_OURS = PARTS | {"connect", "network_in", "network_out"}


class Timing(msgspec.Struct):
    """What the client measured of its own request, in milliseconds since `stream()` was called.

    `connect_start` is None on a reused connection, `lookup` (a duration) where there was no name to look up,
    `tls_start` where nothing is encrypted. `send_end`: the request is with the operating system. `head`: the answer's
    status and headers are here, `first_byte`: the first of its body is. `protocol` is as HTTP names itself.
    """

    connect_start: float | None = None
    connect_end: float = 0.0
    send_start: float = 0.0
    send_end: float = 0.0
    lookup: float | None = None
    tcp_end: float | None = None
    tls_start: float | None = None
    head: float | None = None
    first_byte: float | None = None
    protocol: str = ""

    @property
    def connection(self) -> str:
        """Whether the connection was there already, and what is spoken on it: ``reused, HTTP/1.1``; '' if unknown."""
        if not self.protocol:
            return ""
        return f"{'reused' if self.connect_start is None else 'new'}, {self.protocol}"

    def connect_spans(self) -> tuple[Span, ...]:
        """The `connect` stage and its parts, as far as they took place; nothing on a reused connection."""
        if self.connect_start is None:
            return ()
        found = [Span("connect", self.connect_start, self.connect_end - self.connect_start, "client")]
        known = self.connect_start
        if self.lookup is not None:
            found.append(Span("dns", known, self.lookup, "client"))
            known += self.lookup
        if self.tcp_end is not None:
            found.append(Span("tcp", known, self.tcp_end - known, "client"))
        if self.tls_start is not None:
            found.append(Span("tls", self.tls_start, self.connect_end - self.tls_start, "client"))
        return tuple(found)

    def send_span(self) -> Span:
        """The `network_in` stage as far as the client alone can measure it: sending."""
        return Span("network_in", self.send_start, self.send_end - self.send_start, "client")

    def wait_spans(self) -> tuple[Span, ...]:
        """What was waited for a server that does not say itself what it does: its headers, then the first byte."""
        if self.head is None:
            return ()
        begin = min(self.send_end, self.head)
        waited = Span("server_wait", begin, self.head - begin, "client")
        if self.first_byte is None:
            return (waited,)
        return (waited, Span("first_byte", self.head, self.first_byte - self.head, "client"))


def arrival(timing: Timing, received: float, latency: float) -> float:
    """When the request reached the server, the whole round trip taken as the way there, in the client's milliseconds:
    `latency` before the event that was `received`."""
    return max(timing.send_start, received - latency)


def place(meta: Meta, timing: Timing, received: float, arrived: float) -> Meta:
    """A server's `meta` as the client reports it: the client's own stages first, the server's shifted to `arrived`.

    `arrived`: the earliest `arrival` so far. `latency` becomes the client's.
    """
    network = Span("network_in", timing.send_start, arrived - timing.send_start, "derived")
    shifted = tuple(_relayed(span).shifted(arrived) for span in meta.spans)
    spans = (*timing.connect_spans(), network, *shifted)
    return msgspec.structs.replace(meta, latency=received, spans=spans, connection=timing.connection or None)


def _relayed(span: Span) -> Span:
    """What the server measured as a client of somebody else is, seen from here, the server's."""
    if span.by == "client" or span.stage in _OURS:
        return Span(span.stage, span.offset, span.duration, "server")
    return span
