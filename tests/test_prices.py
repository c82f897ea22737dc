"""The cost of an answer, by the configured prices."""

from __future__ import annotations

import pytest

from backends.backend import ChatRequest, Message
from backends.config import parse
from backends.errors import ConfigError
from backends.events import Done, Event, Meta, Token
from backends.prices import Prices, WithPrices
from backends.providers import check, open_backend
from tests.fakes.openai_server import openai_server
from tests.fakes.scripted import Scripted

PRICES = Prices(input=3.0, output=15.0, cached=0.3, cache_write=3.75)
REQUEST = ChatRequest((Message("user", "one two"),))


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        (Meta(prompt_tokens=1_000_000, completion_tokens=0), 3.0),
        (Meta(prompt_tokens=0, completion_tokens=1_000_000), 15.0),
        (Meta(prompt_tokens=1_000_000, completion_tokens=0, cached_tokens=600_000), 1.2 + 0.18),
        (Meta(prompt_tokens=1_000_000, completion_tokens=0, cache_write_tokens=1_000_000), 3.75),
        (Meta(prompt_tokens=10, completion_tokens=0, cached_tokens=99), 3e-6),  # a server that counts them apart
        (Meta(prompt_tokens=10), None),
        (Meta(completion_tokens=10), None),
    ],
)
def test_cost(usage: Meta, cost: float | None) -> None:
    assert PRICES.cost(usage) == (None if cost is None else pytest.approx(cost))


def test_what_is_cached_costs_as_the_rest_where_no_price_is_told() -> None:
    usage = Meta(prompt_tokens=1_000_000, completion_tokens=0, cached_tokens=500_000, cache_write_tokens=400_000)

    assert Prices(input=2.0).cost(usage) == pytest.approx(2.0)


async def costs(*metas: Meta) -> list[float | None]:
    """What the metas of a stream say of its cost."""
    backend = WithPrices(Scripted(metas[0], Token("a"), *metas[1:], Done(1, 1.0)), PRICES)
    found = [event async for event in backend.stream(REQUEST)]
    await backend.aclose()
    return [event.cost for event in found if isinstance(event, Meta)]


async def test_it_is_told_once_both_are_counted() -> None:
    told = await costs(Meta("m"), Meta(prompt_tokens=100), Meta(completion_tokens=10), Meta(completion_tokens=20))

    assert told == [None, None, pytest.approx(0.00045), pytest.approx(0.0006)]


async def test_the_server_knows_better() -> None:
    told = await costs(Meta(cost=0.5), Meta(prompt_tokens=100, completion_tokens=10))

    assert told == [0.5, None]


async def test_a_configured_backend_has_them() -> None:
    async with openai_server() as server:
        text = f'[backends.a]\ntype = "auto"\nurl = "{server.url}/v1"\nprice_input = 1.0\nprice_output = 2.0\n'
        backend = open_backend(parse(text), "a")
        found: list[Event] = [event async for event in backend.stream(REQUEST)]
        await backend.aclose()

    assert [event.cost for event in found if isinstance(event, Meta) and event.cost] == [pytest.approx(6e-6)]


def test_a_negative_price_is_refused() -> None:
    text = '[backends.a]\ntype = "openai"\nurl = "http://127.0.0.1:1"\nprice_input = -1.0\n'

    with pytest.raises(ConfigError, match=r"line 4: backends\.a\.price_input"):
        check(parse(text))
