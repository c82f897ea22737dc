"""What the first answer needs of the modules here and those behind them: the frame that imports it is drawn late."""

from __future__ import annotations

from importlib import import_module

from rich.cells import cell_len

from tui.markdown.highlight import load


def warm_up() -> None:
    """Imports the parser and Pygments, and reads the tables of widths; half a dozen frames' time. For any thread."""
    import_module("markdown_it")
    load("python")
    cell_len("👩‍🚀 日本")
