"""What an answer costs by the configured prices, where the server does not say it itself."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec

from backends.around import Around
from backends.backend import Backend, ChatRequest
from backends.events import Event, Meta

_PER = 1_000_000


class Prices(msgspec.Struct, frozen=True):
    """US dollars per million tokens. `cached` and `cache_write` 0: as `input`."""

    input: float = 0.0
    output: float = 0.0
    cached: float = 0.0
    cache_write: float = 0.0

    def __bool__(self) -> bool:
        return self.input > 0 or self.output > 0

    def cost(self, usage: Meta) -> float | None:
        """US dollars for what `usage` counts; None while prompt or answer are not counted.

        Of the prompt, `cached_tokens` and `cache_write_tokens` have prices of their own. Thinking is part of the
        answer, as all servers count it.
        """
        if usage.prompt_tokens is None or usage.completion_tokens is None:
            return None
        cached = min(usage.cached_tokens or 0, usage.prompt_tokens)
        written = min(usage.cache_write_tokens or 0, usage.prompt_tokens - cached)
        plain = usage.prompt_tokens - cached - written
        dollars = plain * self.input + cached * (self.cached or self.input) + usage.completion_tokens * self.output
        return (dollars + written * (self.cache_write or self.input)) / _PER


class WithPrices(Around):
    """A Backend around any other: where it counts tokens without a cost, the cost is told too."""

    def __init__(self, inner: Backend, prices: Prices) -> None:
        super().__init__(inner)
        self._prices = prices

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        """See `Backend.stream`."""
        usage, told = Meta(), False
        async with aclosing(self.inner.stream(request)) as events:
            async for event in events:
                if isinstance(event, Meta):
                    usage = _together(usage, event)
                    told = told or event.cost is not None
                    cost = None if told else self._prices.cost(usage)
                    yield event if cost is None else msgspec.structs.replace(event, cost=cost)
                else:
                    yield event


def _together(usage: Meta, news: Meta) -> Meta:
    """The counts so far: `news` replaces what it tells."""
    counts = {
        name: count
        for name in ("prompt_tokens", "completion_tokens", "cached_tokens", "cache_write_tokens")
        if (count := getattr(news, name)) is not None
    }
    return msgspec.structs.replace(usage, **counts)
