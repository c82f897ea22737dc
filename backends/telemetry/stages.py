"""The stages of a request, by name and in order. The lowest module of all: names and the span, nothing else.

A new stage is one line in `Stage`.
"""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

Stage = Literal[
    "retry",
    "connect",
    "dns",
    "tcp",
    "tls",
    "network_in",
    "server_wait",
    "first_byte",
    "auth",
    "retrieval",
    "reranking",
    "context_assembly",
    "model_load",
    "provider_queue",
    "prefill",
    "decode_first_token",
    "total_generation",
    "network_out",
    "render",
]

STAGES: tuple[Stage, ...] = get_args(Stage)

PARTS: frozenset[Stage] = frozenset({"dns", "tcp", "tls"})
"""What `connect` consists of: shown below it, and not counted beside it."""

MeasuredBy = Literal["client", "server", "derived"]


class Span(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One stage of one request.

    `offset` and `duration` are milliseconds; `offset` counts from the arrival of the request at whoever reports the
    span (for the TUI: from Enter). Never a timestamp: clocks of two machines are not compared (DESIGN.md, "Stages and
    metrics"). `by` says who measured it; a derived span is a difference of two measurements.
    """

    stage: Stage
    offset: float
    duration: float
    by: MeasuredBy = "server"

    @property
    def end(self) -> float:
        """Milliseconds from arrival to the end of the stage."""
        return self.offset + self.duration

    def shifted(self, by_ms: float) -> Span:
        """The same span on the clock of a caller whose arrival was `by_ms` earlier."""
        return Span(self.stage, self.offset + by_ms, self.duration, self.by)
