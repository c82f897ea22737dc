"""Whether a request that failed is sent again, and when. Pure but for chance.

Only before its first token, and only where nobody can be working on it: the server refused it, or was never reached.
What was lost on its way is not asked for twice, since it may be answered, and paid for, already. Neither is a server
that does not listen, or has no name: a moment later that is the same.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from backends.errors import BackendError, http_code
from backends.events import Meta, Status
from backends.telemetry.stages import Span

REFUSALS = frozenset(http_code(status) for status in (408, 425, 429, 500, 502, 503, 529))
"""What is worth another try. Not 504: whoever stands behind that gateway may still be at work."""

LONGEST_WAIT = 30.0
"""Seconds that a server may ask to wait (`Retry-After`): a person who is asked for longer decides himself."""

_FIRST, _LONGEST_OWN = 0.5, 8.0


class Retries:
    """The tries of one request: at most `count` after the first."""

    def __init__(self, count: int, chance: Callable[[], float] = random.random) -> None:
        """`chance`: a number from 0 to 1, anew each time."""
        self._count = count
        self._chance = chance
        self.tries = 1

    def delay(self, error: BackendError, left: float | None) -> float | None:
        """Seconds to wait before the next try, which is counted; None where `error` is the end.

        `left`: seconds until the first token has to be here. Without a word of the server the wait doubles from try to
        try, up to half of it taken off by chance; the server's own `Retry-After` is never undercut.
        """
        if self.tries > self._count or not error.retryable or not (error.transient or error.code in REFUSALS):
            return None
        asked = error.retry_after or 0.0
        own: float = min(_LONGEST_OWN, _FIRST * 2 ** (self.tries - 1)) * (1 - self._chance() / 2)
        wait: float = max(own, asked * (1 + self._chance() / 10))
        if asked > LONGEST_WAIT or (left is not None and wait >= left):
            return None
        self.tries += 1
        return wait

    def status(self, error: BackendError, delay: float) -> Status:
        """What is shown meanwhile."""
        what = error.code.replace("_", " ")
        return Status("retrying", detail=f"{what}; try {self.tries} of {1 + self._count} in {delay:.1f} s")

    def spent(self, since: float) -> Meta:
        """What it took so far, for a call at `since` (`time.perf_counter()`)."""
        return Meta(spans=(Span("retry", 0.0, (time.perf_counter() - since) * 1000, "client"),))

    def last_word(self, error: BackendError) -> BackendError:
        """`error`, with how often it was tried."""
        if self.tries > 1:
            error.message += f" (tried {self.tries} times)"
        return error
