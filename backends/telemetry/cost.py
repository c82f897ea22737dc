"""What an answer cost, and what a cancel saved. Pure functions; in US dollars."""

from __future__ import annotations

import msgspec

from backends.config import Price, price_of
from backends.events import Meta
from backends.telemetry.timeline import Timeline

_PER = 1_000_000


class Saved(msgspec.Struct, frozen=True):
    """What was at most saved by cancelling: the tokens up to the request's limit, and their price where it is known."""

    tokens: int
    cost: float | None


def cost(timeline: Timeline) -> float | None:
    """What the backend says that it cost, else its tokens at their price; None where neither is known."""
    usage = timeline.usage
    if usage.cost is not None:
        return usage.cost
    price = price_of(timeline.prices, usage.model)
    if price is None or usage.prompt_tokens is None:
        return None
    made = usage.completion_tokens if usage.completion_tokens is not None else timeline.tokens
    return (_prompt_cost(usage, usage.prompt_tokens, price) + made * price.output) / _PER


def _prompt_cost(usage: Meta, prompt_tokens: int, price: Price) -> float:
    cached, written = usage.cached_tokens or 0, usage.cache_write_tokens or 0
    fresh = max(0, prompt_tokens - cached - written)
    cached_price = price.input if price.cached is None else price.cached
    write_price = price.input if price.cache_write is None else price.cache_write
    return fresh * price.input + cached * cached_price + written * write_price


def saved(timeline: Timeline) -> Saved | None:
    """What cancelling saved at most; None for an answer that was not cancelled or had no limit."""
    limit = timeline.asked.token_limit
    if timeline.outcome != "cancelled" or not limit:
        return None
    usage = timeline.usage
    made = usage.completion_tokens if usage.completion_tokens is not None else timeline.tokens
    tokens = max(0, limit - made)
    price = price_of(timeline.prices, usage.model)
    return Saved(tokens, None if price is None else tokens * price.output / _PER)
