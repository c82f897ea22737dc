"""Statistics as plots in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

from backends.telemetry.statistics import Group, Statistics
from tui.commands.plotting import built, fresh, plotext

BINS = 40


def plots(found: Statistics, ttfts: Sequence[float], width: int) -> str:
    """TTFT and TPOT day by day, and how often which of the `ttfts`, which are in order, came, in `width` columns.

    Raises BackendError without plotext.
    """
    library = plotext()
    drawn = [
        _by_day(library, "TTFT by day, ms", found.by.get("day", ()), "ttft", width),
        _by_day(library, "TPOT by day, ms", found.by.get("day", ()), "tpot", width),
        _histogram(library, "turns by TTFT, ms", ttfts, width),
    ]
    return "\n\n".join(plot for plot in drawn if plot)


def _by_day(library: ModuleType, title: str, days: Sequence[Group], field: str, width: int) -> str:
    """P50 and P95 of `field`; nothing for a single day, which is no course."""
    told = [(day.name, spread) for day in days if (spread := getattr(day, field)) is not None]
    if len(told) < 2:
        return ""
    fresh(library, title, width)
    at = list(range(len(told)))
    library.plot(at, [spread.p50 for _, spread in told], label="P50", marker="dot")
    library.plot(at, [spread.p95 for _, spread in told], label="P95", marker="braille")
    step = max(1, len(told) // max(1, width // 16))
    library.xticks(at[::step], [name for name, _ in told][::step])
    library.ylim(0, None)
    return built(library)


def _histogram(library: ModuleType, title: str, values: Sequence[float], width: int) -> str:
    """How often which value came; those beyond P99 are left out, which would flatten the rest."""
    if len(values) < 2:
        return ""
    shown = values[: max(2, round(0.99 * len(values)))]
    fresh(library, title, width)
    library.hist(shown, BINS)
    return built(library)
