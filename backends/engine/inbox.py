"""What the asyncio side leaves for the scheduler's thread: requests, cancels, a hint, the end."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from backends.engine.sequence import Sequence
from backends.errors import BackendError

ANYBODY = range(sys.maxsize)
"""All keys of sequences."""


class Mail(NamedTuple):
    """What came since the last look.

    `more_to_come`: further requests are on their way; `parks`: who has to stand still (True) or may go on; `hint`: the
    newest prompt to be computed ahead; `end`: why the loop has to end.
    """

    arrivals: list[Sequence]
    more_to_come: bool
    cancels: list[Sequence]
    parks: dict[Sequence, bool]
    hint: Sequence | None
    end: BackendError | None


class Inbox:
    """The one place where the two threads meet on the way in.

    `put`, `hint`, `cancel`, `park` and `close` are for the asyncio side, the rest for the scheduler's thread. `live`:
    everybody who has not been told the end, by key; `abort` is `Runner.abort`.
    """

    def __init__(self, abort: Callable[[bool], None], live: dict[int, Sequence]) -> None:
        self._abort = abort
        self._live = live
        self._changed = threading.Condition()
        self._arrivals: list[Sequence] = []
        self._cancels: list[Sequence] = []
        self._parks: dict[Sequence, bool] = {}
        self._announced = 0
        self._hint: Sequence | None = None
        self._interruptible: Container[int] = ()
        self._hinted: Sequence | None = None
        self._end: BackendError | None = None

    # ---- the asyncio side

    @contextmanager
    def announced(self) -> Iterator[None]:
        """Around what leads to a `put`, so that the other side knows of it."""
        with self._changed:
            self._announced += 1
        try:
            yield
        finally:
            with self._changed:
                self._announced -= 1
                self._changed.notify()

    def put(self, sequence: Sequence) -> None:
        """A request. A hint that it does not go on from is aborted. Raises BackendError when the loop has ended."""
        with self._changed:
            if self._end is not None:
                raise self._end
            self._live[sequence.key] = sequence
            self._arrivals.append(sequence)
            if self._hinted is not None and not sequence.goes_on_from(self._hinted):
                self._abort(True)
            self._changed.notify()

    def hint(self, hint: Sequence) -> None:
        """A prompt that may be computed ahead: in the place of an older one, of a draft only if it is one too."""
        with self._changed:
            if self._end is None and (hint.is_draft or self._hint is None):
                self._hint = hint
                self._changed.notify()

    def cancel(self, sequence: Sequence) -> None:
        """Nobody reads `sequence` any more. A long prefill of it is aborted."""
        with self._changed:
            self._cancels.append(sequence)
            if sequence.key in self._interruptible:
                self._abort(True)
            self._changed.notify()

    def park(self, sequence: Sequence, parked: bool) -> None:
        """The reader of `sequence` is away, or back. A long prefill of who is parked is aborted."""
        with self._changed:
            self._parks[sequence] = parked
            if parked and sequence.key in self._interruptible:
                self._abort(True)
            self._changed.notify()

    def close(self, end: BackendError) -> None:
        """The loop has to end, for the first reason that is given. What is being computed is aborted."""
        with self._changed:
            if self._end is None:
                self._end = end
            self._abort(True)
            self._changed.notify()

    # ---- the thread

    @property
    def is_full(self) -> bool:
        """Whether the asyncio side has left something."""
        return bool(self._arrivals or self._cancels or self._parks or self._hint or self._end)

    def wait(self, seconds: float | None = None, for_announced: bool = False) -> None:
        """Until there is mail or the time is over; with `for_announced` only as long as somebody is on the way."""
        with self._changed:
            self._changed.wait_for(lambda: self.is_full or (for_announced and not self._announced), seconds)

    def take(self) -> Mail:
        """All that is here; the end stays."""
        with self._changed:
            mail = Mail(self._arrivals, self._announced > 0, self._cancels, self._parks, self._hint, self._end)
            self._arrivals, self._cancels, self._parks, self._hint = [], [], {}, None
        return mail

    def begin_step(self, interruptible: Container[int], hint: Sequence | None = None) -> bool:
        """A step begins, or the drafts for it; a cancel of one of `interruptible` aborts it.

        `hint` is computed in it, for which no request waits. False: it is not worth beginning any more.
        """
        with self._changed:
            if self._cancels or self._parks or self._end or (hint and self._arrivals):
                return False
            self._abort(False)
            self._interruptible, self._hinted = interruptible, hint
        return True

    def end_step(self) -> None:
        """The step is over: nothing aborts it now."""
        with self._changed:
            self._interruptible, self._hinted = (), None
