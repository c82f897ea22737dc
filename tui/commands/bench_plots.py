"""Latency over load, drawn in the terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType

from backends.bench.load_report import METRICS
from backends.bench.sweep import Level, Measured
from backends.errors import BackendError, Code
from tui.commands.plotting import built, fresh, plotext

Plotter = Callable[[Sequence[Measured], int], str]


def plotter(wanted: Sequence[Level]) -> Plotter:
    """What draws the plots in so many columns. Raises BackendError where that cannot be done, before any load."""
    if len(set(wanted)) < 2:
        raise BackendError(Code.CONFIG, "--plot needs several loads, such as --concurrency 1,4,16")
    library = plotext()
    return lambda measured, width: "\n\n".join(
        _over_load(library, metric, field, measured, width) for metric, field in METRICS if field in ("ttft", "total")
    )


def _over_load(library: ModuleType, metric: str, field: str, measured: Sequence[Measured], width: int) -> str:
    told = [(one.level, spread) for one in measured if (spread := getattr(one.summary, field)) is not None]
    load = "clients" if measured[0].level.loop == "clients" else "requests/s"
    fresh(library, f"{metric}, ms, over {load}", width)
    at = [level.value for level, _ in told]
    library.plot(at, [spread.p50 for _, spread in told], label="P50", marker="dot")
    library.plot(at, [spread.p95 for _, spread in told], label="P95", marker="braille")
    library.xticks(at, [f"{value:g}" for value in at])
    library.ylim(0, None)
    return built(library)
