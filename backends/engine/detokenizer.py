"""From token pieces to text that may be shown: whole characters only, and nothing that may become a stop string."""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class Detokenizer:
    """Incremental detokenization of one answer.

    A piece is the bytes of one token; characters may be split over pieces, stop strings over characters and pieces. The
    result does not depend on how the bytes were cut: the answer ends where the first stop string is complete, and the
    longest one that ends there is taken off.
    """

    def __init__(self, stop: Sequence[str] = ()) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._stop = tuple(text for text in stop if text)
        self._held = ""
        self.stopped = False

    def push(self, piece: bytes) -> str:
        """Take in a piece; return the text that is safe to show now. `stopped` says that a stop string was found."""
        return self._scan(self._decoder.decode(piece))

    def finish(self) -> str:
        """The text still held back, when the answer has ended otherwise; half a character becomes U+FFFD."""
        text = self._scan(self._decoder.decode(b"", final=True))
        held, self._held = self._held, ""
        return text + held

    def _scan(self, text: str) -> str:
        if self.stopped:
            return ""
        self._held += text
        if (start := self._first_stop()) is not None:
            self.stopped = True
            shown, self._held = self._held[:start], ""
            return shown
        safe = len(self._held) - self._half_stop()
        shown, self._held = self._held[:safe], self._held[safe:]
        return shown

    def _first_stop(self) -> int | None:
        """Where the stop string begins that is complete first; of those that end together the longest."""
        found = [(at + len(stop), at) for stop in self._stop if (at := self._held.find(stop)) >= 0]
        return min(found)[1] if found else None

    def _half_stop(self) -> int:
        """The length of the longest end of the held text that a stop string begins with."""
        longest = min(len(self._held), max(map(len, self._stop), default=1) - 1)
        for length in range(longest, 0, -1):
            if self._held.endswith(tuple(stop[:length] for stop in self._stop if len(stop) > length)):
                return length
        return 0
