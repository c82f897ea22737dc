"""Plots in the terminal, by plotext, which is an extra: ``pip install 'llmchat[plots]'``."""

from __future__ import annotations

from types import ModuleType

from backends.errors import BackendError, Code

HEIGHT = 14


def plotext() -> ModuleType:
    """The library. Raises BackendError where it is not installed."""
    try:
        import plotext
    except ImportError:
        raise BackendError(Code.CONFIG, "plots need plotext: pip install 'llmchat[plots]'") from None
    module: ModuleType = plotext
    return module


def fresh(plotext: ModuleType, title: str, width: int) -> None:
    """An empty plot of `width` columns; plotext has one at a time."""
    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plotsize(width, HEIGHT)
    plotext.title(title)


def built(plotext: ModuleType) -> str:
    """The plot as plain text."""
    lines = plotext.uncolorize(plotext.build()).splitlines()
    return "\n".join(line.rstrip() for line in lines)
