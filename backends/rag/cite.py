"""Citations out of the answer's text: a pure incremental scanner for ``[S2]`` (and ``[S1, S2]``).

The first time that the text uses an id its `Citation` comes out, with the very piece that completes the marker. An id
that no source has is removed from the text (``[S9]`` vanishes, ``[S1, S9]`` becomes ``[S1]``); all other text is left
as it is. Markers may be split over pieces anywhere: only a tail that could still become a marker is held back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from backends.events import Citation

_MARKER = re.compile(r"\[(S\d{1,3}(?:, ?S\d{1,3}){0,7})\]")
# Every proper prefix of a marker, at the end of the text.
_OPEN = re.compile(r"\[(?:S(?:\d{1,3}(?:, ?S\d{1,3}){0,7}(?:, ?S?)?)?)?\Z")
_ID = re.compile(r"S\d{1,3}")


class Scanner:
    """Reads an answer piece by piece; `sources` are what it may cite, `before` is text of it that is already shown.

    What `before` cites is not cited again, and a marker that it left open is completed by the first piece.
    """

    def __init__(self, sources: Iterable[Citation], before: str = "") -> None:
        self._sources = {source.id: source for source in sources}
        self._cited: set[str] = set()
        self._held = ""
        self._shown = 0  # so many characters of `_held` are already on the screen
        if before:
            self.feed(before)
            self._shown = len(self._held)

    def feed(self, text: str) -> tuple[str, tuple[Citation, ...]]:
        """The text that can be shown after this piece (possibly none), and the citations that it uses first."""
        text = self._held + text
        found = _OPEN.search(text)
        cut = len(text) if found is None else found.start()
        ready, self._held = text[:cut], text[cut:]
        return self._release(ready)

    def flush(self) -> str:
        """The text that is still held back: the answer has ended, so it is no marker."""
        text, self._held = self._held[self._shown :], ""
        return text

    def _release(self, ready: str) -> tuple[str, tuple[Citation, ...]]:
        shown, new = self._shown, []
        if not ready:
            return "", ()
        self._shown = 0

        def keep(found: re.Match[str]) -> str:
            ids = _ID.findall(found[1])
            known = [each for each in ids if each in self._sources]
            for each in known:
                if each not in self._cited:
                    self._cited.add(each)
                    new.append(self._sources[each])
            # One that began on the screen cannot be taken back from there: it stays as it is.
            if len(known) == len(ids) or found.start() < shown:
                return found[0]
            return f"[{', '.join(known)}]" if known else ""

        return _MARKER.sub(keep, ready)[shown:], tuple(new)
