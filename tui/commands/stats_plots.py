"""Statistics as plots in the terminal, by plotext, which is an extra: ``pip install 'llmchat[plots]'``."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

from backends.errors import BackendError, Code
from backends.telemetry.statistics import Group, Statistics

HEIGHT = 14
BINS = 40


def plots(found: Statistics, ttfts: Sequence[float], width: int) -> str:
    """TTFT and TPOT day by day, and how often which of the `ttfts`, which are in order, came, in `width` columns.

    Raises BackendError without plotext.
    """
    plotext = _plotext()
    drawn = [
        _by_day(plotext, "TTFT by day, ms", found.by.get("day", ()), "ttft", width),
        _by_day(plotext, "TPOT by day, ms", found.by.get("day", ()), "tpot", width),
        _histogram(plotext, "turns by TTFT, ms", ttfts, width),
    ]
    return "\n\n".join(plot for plot in drawn if plot)


def _plotext() -> ModuleType:
    try:
        import plotext
    except ImportError:
        raise BackendError(Code.CONFIG, "plots need plotext: pip install 'llmchat[plots]'") from None
    module: ModuleType = plotext
    return module


def _fresh(plotext: ModuleType, title: str, width: int) -> None:
    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plotsize(width, HEIGHT)
    plotext.title(title)


def _built(plotext: ModuleType) -> str:
    lines = plotext.uncolorize(plotext.build()).splitlines()
    return "\n".join(line.rstrip() for line in lines)


def _by_day(plotext: ModuleType, title: str, days: Sequence[Group], field: str, width: int) -> str:
    """P50 and P95 of `field`; nothing for a single day, which is no course."""
    told = [(day.name, spread) for day in days if (spread := getattr(day, field)) is not None]
    if len(told) < 2:
        return ""
    _fresh(plotext, title, width)
    at = list(range(len(told)))
    plotext.plot(at, [spread.p50 for _, spread in told], label="P50", marker="dot")
    plotext.plot(at, [spread.p95 for _, spread in told], label="P95", marker="braille")
    step = max(1, len(told) // max(1, width // 16))
    plotext.xticks(at[::step], [name for name, _ in told][::step])
    plotext.ylim(0, None)
    return _built(plotext)


def _histogram(plotext: ModuleType, title: str, values: Sequence[float], width: int) -> str:
    """How often which value came; those beyond P99 are left out, which would flatten the rest."""
    if len(values) < 2:
        return ""
    shown = values[: max(2, round(0.99 * len(values)))]
    _fresh(plotext, title, width)
    plotext.hist(shown, BINS)
    return _built(plotext)
