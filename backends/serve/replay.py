"""The frames of one answer, kept for whoever lost the connection: what is unread, and the newest of what was read."""

from __future__ import annotations

from collections import deque
from itertools import islice

MAX_KEPT = 1024 * 1024
"""Bytes of one answer that are kept, read ones first to go: some 15,000 tokens, one a frame."""


class Gone(Exception):
    """Frames were asked for that are no longer kept."""


class Replay:
    """Frames, numbered from 1. The oldest that were read are dropped beyond `limit` bytes."""

    def __init__(self, limit: int = MAX_KEPT) -> None:
        self._limit = limit
        self._frames: deque[bytes] = deque()
        self.last = 0  # the number of the newest frame
        self.kept = 0  # bytes
        self.unread = 0  # bytes, of the frames behind the last one that was read

    def append(self, frame: bytes) -> None:
        """The next frame."""
        self._frames.append(frame)
        self.last += 1
        self.kept += len(frame)
        self.unread += len(frame)
        while self.kept > self._limit and self.kept - len(self._frames[0]) >= self.unread:
            self.kept -= len(self._frames.popleft())

    def after(self, number: int) -> list[bytes]:
        """All frames behind frame `number`. Raises Gone if some of them were dropped."""
        first = len(self._frames) - (self.last - number)
        if first < 0:
            raise Gone
        return list(islice(self._frames, first, None))

    def read(self, number: int) -> None:
        """The reader has all frames up to `number`, and none behind it. Raises Gone."""
        self.unread = sum(map(len, self.after(number)))
