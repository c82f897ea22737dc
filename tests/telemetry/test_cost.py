"""What an answer cost, and what a cancel saved."""

from __future__ import annotations

import pytest

from backends.config import Price, price_of
from backends.events import Meta, Token
from backends.telemetry.cost import Saved, cost, saved
from backends.telemetry.timeline import Asked, Timeline

PRICES = {"gpt": Price(1.0, 2.0), "gpt-5": Price(input=3.0, output=15.0, cached=0.3)}


def answered(meta: Meta, tokens: int = 10) -> Timeline:
    timeline = Timeline(asked=Asked("there", token_limit=100), prices=PRICES)
    timeline.add(meta, 1.0)
    timeline.add(Token("words", count=tokens), 2.0)
    return timeline


def test_the_longest_name_that_fits_has_the_price() -> None:
    assert price_of(PRICES, "gpt-5-mini-2026-01-01") == PRICES["gpt-5"]
    assert price_of(PRICES, "gpt-4o") == PRICES["gpt"]
    assert price_of(PRICES, "llama") is None
    assert price_of(PRICES, None) is None


def test_cached_tokens_have_their_own_price() -> None:
    timeline = answered(Meta("gpt-5", prompt_tokens=1_000, cached_tokens=900))
    assert cost(timeline) == pytest.approx((100 * 3.0 + 900 * 0.3 + 10 * 15.0) / 1e6)


def test_what_the_server_says_it_cost_counts() -> None:
    assert cost(answered(Meta("gpt-5", prompt_tokens=1_000, cost=0.25))) == 0.25
    assert cost(answered(Meta("llama", prompt_tokens=1_000))) is None
    assert cost(answered(Meta("gpt-5"))) is None


def test_a_cancel_saves_at_most_the_rest_of_the_limit() -> None:
    timeline = answered(Meta("gpt-5", prompt_tokens=5), tokens=40)
    assert saved(timeline) is None
    timeline.end("cancelled", 3.0)
    assert saved(timeline) == Saved(60, pytest.approx(60 * 15.0 / 1e6))
    assert saved(Timeline.load(timeline.dump())) == saved(timeline)
