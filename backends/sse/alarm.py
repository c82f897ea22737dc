"""One timer for the many short waits of a stream, where `asyncio.timeout` would set and drop one for each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType


class Alarm:
    """Ends a wait that takes too long: ``with alarm: await …`` then raises TimeoutError, as `asyncio.timeout` does.

    For one task at a time. A wait costs two looks at clocks and no timer: the one that there is looks, when its time
    has come, how long the wait of that moment may still take.
    """

    def __init__(self, due: Callable[[float], float | None]) -> None:
        """`due`: when a wait that began at a time has to be over (event loop time), None for never. For a later
        beginning that must not be earlier."""
        self._due = due
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._rang = False
        self.since = 0.0
        """When the last wait began."""

    def __enter__(self) -> None:
        self._task = asyncio.current_task()
        assert self._task is not None
        self._cancelling = self._task.cancelling()
        self.since = self._loop.time()
        if self._timer is None:
            self._set()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        if self._rang and task is not None:
            self._rang = False
            if task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
                raise TimeoutError from error

    def close(self) -> None:
        """No more waits: drops the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set(self) -> None:
        due = self._due(self.since)
        self._timer = None if due is None else self._loop.call_at(due, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._task is None:
            return  # the next wait sets the timer
        due = self._due(self.since)
        if due is not None and due <= self._loop.time():
            self._rang = True
            self._task.cancel()
        else:
            self._set()
