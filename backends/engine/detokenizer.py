"""From token pieces to text that may be shown: whole characters, thinking apart, nothing that may become a stop."""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from backends.engine.reasoning import Marks, Said


class StopScanner:
    """Lets text through up to the first stop string.

    The result does not depend on how the text was cut: it ends where the first stop string is complete, and the longest
    one that ends there is taken off.
    """

    def __init__(self, stop: Sequence[str] = ()) -> None:
        self._stop = tuple(text for text in stop if text)
        self._held = ""
        self.stopped = False

    def push(self, text: str) -> str:
        """Take in `text`; return what is safe to show now. `stopped` says that a stop string was found."""
        if self.stopped or not self._stop:
            return "" if self.stopped else text
        self._held += text
        if (start := self._first_stop()) is not None:
            self.stopped = True
            shown, self._held = self._held[:start], ""
            return shown
        safe = len(self._held) - self._half_stop()
        shown, self._held = self._held[:safe], self._held[safe:]
        return shown

    def finish(self) -> str:
        """The text still held back, when the answer has ended otherwise."""
        held, self._held = self._held, ""
        return held

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


class Detokenizer:
    """The text of one answer, from the bytes of its tokens: thinking, then answering.

    Whole characters only, and nothing that may become a mark or a stop string. Stop strings end the answer; thinking
    they do not concern. `reasoning_tokens` counts the tokens of thinking and its marks.
    """

    def __init__(self, stop: Sequence[str] = (), closing: str = "") -> None:
        """`closing`: as in `Marks`."""
        self._decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        self._marks = Marks(closing)
        self._answer = StopScanner(stop)
        self._pushed = 0
        self.reasoning_tokens = 0

    @property
    def stopped(self) -> bool:
        """A stop string was found."""
        return self._answer.stopped

    @property
    def is_answering(self) -> bool:
        """True once marks count no more, and control tokens need not be spelled."""
        return self._marks.state == "answering"

    def push(self, piece: bytes) -> list[Said]:
        """Take in the bytes of a token, marks spelled unless `is_answering`; return what may be shown now."""
        text = self._decode(piece)
        if self._marks.state == "answering":
            shown = self._answer.push(text)
            return [Said(shown, False)] if shown else []
        self._pushed += 1
        before = self._marks.state, self._marks.blocks
        said = self._marks.push(text)
        if before != (self._marks.state, self._marks.blocks) or before[0] == "thinking":
            self.reasoning_tokens = self._pushed if self._marks.blocks else 0
        return self._scanned(said)

    def finish(self) -> list[Said]:
        """What was still held back, when the answer has ended otherwise; half a character becomes U+FFFD."""
        said = self._scanned(self._marks.push(self._decode(b"", True)) + self._marks.finish())
        rest = self._answer.finish()
        return [*said, Said(rest, False)] if rest else said

    def _scanned(self, said: list[Said]) -> list[Said]:
        """`said`, where it is answer only as far as no stop string may be in it."""
        found = [each if each.is_reasoning else Said(self._answer.push(each.text), False) for each in said]
        return [each for each in found if each.text]
