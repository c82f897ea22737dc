"""Lines of JSON (github.com/ndjson/ndjson-spec): text in pieces of any size to whole lines. Pure, no sockets."""

from __future__ import annotations

from typing import Literal

Format = Literal["text/event-stream", "application/x-ndjson"]
"""What a streamed body is written in: server-sent events, or a JSON object a line."""


class LineDecoder:
    """Puts lines together; a line is one only when its line break has come. Empty ones are left out."""

    def __init__(self) -> None:
        self._held: list[str] = []

    def feed(self, text: str) -> list[str]:
        """The lines that `text` completes, without their line breaks."""
        first, *others = text.split("\n")
        self._held.append(first)
        if not others:
            return []
        lines = ["".join(self._held), *others[:-1]]
        self._held = [others[-1]]
        return [line for line in lines if line.strip()]
