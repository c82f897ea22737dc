"""What every backend around another one has in common."""

from __future__ import annotations

from backends.backend import Backend, ChatRequest, Pausable, pausable
from backends.events import Error, Status


class Around:
    """The part of a Backend around `inner` that is passed on; `stream` is for whoever derives from it."""

    def __init__(self, inner: Backend) -> None:
        self.inner = inner

    async def warm(self, request: ChatRequest) -> Status | Error | None:
        """See `Backend.warm`."""
        return await self.inner.warm(request)

    @property
    def pausable(self) -> Pausable | None:
        """See `backend.pausable`: where `inner` is."""
        return pausable(self.inner)

    async def aclose(self) -> None:
        """See `Backend.aclose`."""
        await self.inner.aclose()
