"""Reading a stream from a child that may die meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from backends.events import Event

LAST_WORDS_S = 0.5
"""How long what a dead child had sent may still be read."""


class Watch:
    """Reads one stream for as long as the child lives, and `LAST_WORDS_S` longer."""

    def __init__(self) -> None:
        self.expired = False
        self._deadline: float | None = None
        self._scope: asyncio.Timeout | None = None

    async def next(self, events: AsyncGenerator[Event, None]) -> Event | None:
        """The next event; None when there is none, `expired` telling whether the child's death is why."""
        try:
            async with asyncio.timeout_at(self._deadline) as self._scope:
                return await anext(events, None)
        except TimeoutError:
            if self._scope is None or not self._scope.expired():
                raise
            self.expired = True
            return None
        finally:
            self._scope = None

    def on_lost(self, _: asyncio.Future[None]) -> None:
        """The child is gone: what it had sent may still be read, and no more is waited for."""
        self._deadline = asyncio.get_running_loop().time() + LAST_WORDS_S
        if self._scope is not None:
            self._scope.reschedule(self._deadline)
