"""What is pasted is text, whatever stands in it: it presses no keys.

Textual's parser takes escape sequences within a bracketed paste apart and plays what it does not know as keys: a pasted
bell would be Ctrl+G. Most terminals leave controls out of what they paste; not all do, and tmux and scripts do not.
"""

from __future__ import annotations

START, END = "\x1b[200~", "\x1b[201~"
SHOWN = "^["
"""What stands for an Esc in a pasted text."""


class PasteGuard:
    """Passes on what a terminal sends, with every Esc within a paste made visible but that of the paste's end."""

    def __init__(self) -> None:
        self._pasting = False
        self._open = ""  # the last end that may begin a marker: held back within a paste, else passed on

    def pass_on(self, text: str) -> str:
        """What the parser may read of the next piece."""
        passed = 0 if self._pasting else len(self._open)
        rest, out = self._open + text, ""
        while True:
            before, marker, rest = rest.partition(END if self._pasting else START)
            if not marker:
                self._open = _beginning(before, END if self._pasting else START)
                if self._pasting:
                    before = before[: len(before) - len(self._open)].replace("\x1b", SHOWN)
                return (out + before)[passed:]
            out += (before.replace("\x1b", SHOWN) if self._pasting else before) + marker
            self._pasting = not self._pasting


def _beginning(text: str, marker: str) -> str:
    """The longest end of `text` with which `marker` begins."""
    return next((marker[:size] for size in range(len(marker) - 1, 0, -1) if text.endswith(marker[:size])), "")
