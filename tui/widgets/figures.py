"""Figures in few columns, for tables."""

from __future__ import annotations

UNKNOWN = "–"


def shortened(name: str, width: int) -> str:
    """`name` in `width` columns, its end kept: that is where models differ."""
    return name if len(name) <= width else "…" + name[1 - width :]


def percent(share: float | None) -> str:
    """A share for people: ``4.2 %``; a dash where it is not known."""
    if share is None:
        return UNKNOWN
    return f"{100 * share:.1f} %" if 0 < share < 0.1 else f"{100 * share:.0f} %"


def short(ms: float) -> str:
    """Milliseconds in few columns: ``4.2 ms``, ``312 ms``, ``1.24 s``, ``12.4 s``, ``312 s``."""
    if ms < 999.5:
        return f"{ms:.1f} ms" if ms < 9.95 else f"{ms:.0f} ms"
    seconds = ms / 1000
    return f"{seconds:.2f} s" if seconds < 9.995 else f"{seconds:.1f} s" if seconds < 99.95 else f"{seconds:.0f} s"
