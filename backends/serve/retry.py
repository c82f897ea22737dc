"""What is lost before its first token is asked for once more."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from backends.around import Around
from backends.backend import Backend, ChatRequest
from backends.errors import Code
from backends.events import Error, Event, Reasoning, Status, Token

_LOST = frozenset({Code.INTERRUPTED, Code.ENGINE_DIED})
"""How an answer ends whose server is gone; another try finds its successor. Of being refused a backend takes care."""


class Retrying(Around):
    """A Backend around any other. Nothing that was said comes twice: after the first token an `Error` is passed on."""

    def __init__(self, inner: Backend, retries: int) -> None:
        """`retries`: further tries for one request, at most."""
        super().__init__(inner)
        self._retries = retries

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        """See `Backend.stream`. A further try is told by a status."""
        for left in reversed(range(self._retries + 1)):
            said = lost = False
            async with aclosing(self.inner.stream(request)) as events:
                async for event in events:
                    said = said or isinstance(event, Token | Reasoning)
                    lost = isinstance(event, Error) and event.retryable and event.code in _LOST
                    if lost and not said and left:
                        yield Status("connecting", detail="once more")
                        break
                    yield event
            if said or not lost:
                return
