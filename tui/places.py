"""Who of several backends was first with the same question. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from backends.telemetry.timeline import Timeline


class Places(msgspec.Struct, frozen=True):
    """The names of who had the first token first, and of who first had its whole answer; "" as long as nobody had."""

    first: str
    finished: str


def places(timelines: Mapping[str, Timeline]) -> Places:
    """As it stands now, by the timelines of all by name; their clocks began with the same Enter."""
    begun = {name: at for name, one in timelines.items() if (at := one.first_token_ms) is not None}
    whole = {
        name: one.end_ms
        for name, one in timelines.items()
        if one.end_ms is not None and one.outcome in ("complete", "truncated")
    }
    return Places(min(begun, key=begun.__getitem__, default=""), min(whole, key=whole.__getitem__, default=""))
