"""Text from outside made safe for one line of the screen."""

from __future__ import annotations

from tui.markdown.sanitize import sanitize


def plain(text: str) -> str:
    """`text` on one line, without control characters."""
    return " ".join(sanitize(text).split())
