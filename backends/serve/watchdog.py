"""How long a request and its stages may take (`Serve.timeouts`)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from backends.config import ServeTimeouts
from backends.errors import Code
from backends.events import Error
from backends.telemetry.timeline import STAGE_OF, Timeline


def next_deadline(limits: ServeTimeouts, timeline: Timeline, active_ms: float | None) -> tuple[float, Error] | None:
    """When, in milliseconds since the request's arrival, what goes on now has to be over; and the error if it is not.

    `active_ms`: since when the backend is expected to say something; None while it stands still for its reader.
    """
    dues: list[tuple[float, Error]] = []

    def limit(seconds: float, since: float, code: Code, what: str) -> None:
        if seconds:
            message = f"{what} took longer than the {seconds:g} s that this server allows"
            dues.append((since + seconds * 1000, Error(code, message, retryable=True)))

    limit(limits.total, 0.0, Code.TIMEOUT_TOTAL, "the answer")
    if active_ms is not None:
        if timeline.first_token_ms is not None:
            limit(limits.idle, active_ms, Code.TIMEOUT_IDLE, "a pause in the answer")
        else:
            limit(limits.first_token, 0.0, Code.TIMEOUT_FIRST_TOKEN, "the first token")
            if timeline.status is not None:
                stage = STAGE_OF[timeline.status.status]
                limit(getattr(limits, stage, 0.0), timeline.status_ms, Code.TIMEOUT_STAGE, f"the stage {stage}")
    return min(dues, key=lambda due: due[0], default=None)


class Watchdog:
    """One timer for one stream. It is set again when it goes off too early, and by `look` when it may be too late."""

    def __init__(self, deadline: Callable[[], tuple[float, Error] | None], on_late: Callable[[Error], None]) -> None:
        """`deadline`: in seconds from now. `on_late` gets its error when it has passed."""
        self._deadline = deadline
        self._on_late = on_late
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def look(self) -> None:
        """What goes on has changed."""
        due = self._deadline()
        if due is None:
            self.close()
        elif due[0] <= 0:
            self.close()
            self._on_late(due[1])
        else:
            at = self._loop.time() + due[0]
            if self._timer is None or at < self._timer.when():
                self.close()
                self._timer = self._loop.call_at(at, self._ring)

    def close(self) -> None:
        """No more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self) -> None:
        self._timer = None
        self.look()
