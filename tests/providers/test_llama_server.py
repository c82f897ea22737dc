"""`openai` (by way of `auto`), `anthropic` and `responses` on a real llama.cpp server; skipped where there is none."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any
from urllib.request import urlopen

import pytest

from backends import config, providers
from backends.backend import ChatRequest, Message, Sampling
from backends.events import Done, Event, Meta, Status, Token
from backends.providers import Site
from backends.providers.auto import Auto, Options
from backends.providers.auto import connect as connect_auto
from tests.counterparts.llama_server import running
from tests.fakes.echo import Echo

PATIENCE = 60.0
QUESTION = " ".join(f"Line {number} of a longer question about plans and refunds." for number in range(40))


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server for all tests."""
    with running(tmp_path_factory.mktemp("llama-server") / "log") as url:
        yield url


@pytest.fixture
async def backend(url: str) -> AsyncIterator[Auto]:
    """A backend that knows nothing but the URL."""
    backend = connect_auto(Options(url=url), Site("url", lambda _: Echo()))
    assert isinstance(backend, Auto)
    async with asyncio.timeout(PATIENCE):
        await backend.warm(ChatRequest(()))
        yield backend
        await backend.aclose()


def question(text: str, max_tokens: int) -> ChatRequest:
    """A greedy request."""
    return ChatRequest((Message("user", text),), max_tokens=max_tokens, sampling=Sampling(temperature=0.0))


def metas(found: list[Event], field: str) -> Any:
    """What the last `Meta` that tells `field` says."""
    return [getattr(event, field) for event in found if isinstance(event, Meta) and getattr(event, field)][-1]


async def test_it_is_recognized_and_tells_its_stages(backend: Auto) -> None:
    first = [event async for event in backend.stream(question(QUESTION, 8))]
    again = [event async for event in backend.stream(question(QUESTION, 8))]

    assert backend.dialect is not None
    assert backend.dialect.server == "llama-server"
    done = first[-1]
    assert isinstance(done, Done), done
    assert 0 < done.total_tokens <= 8
    assert any(isinstance(event, Token) for event in first)
    prefills = [event for event in first if isinstance(event, Status) and event.status == "prefilling"]
    assert prefills[-1].done == prefills[-1].total > 100
    spans = {span.stage: span for event in first if isinstance(event, Meta) for span in event.spans}
    assert spans["prefill"].duration > 0
    assert spans["total_generation"].by == "server"
    assert metas(first, "prompt_tokens") == prefills[-1].total
    assert metas(again, "cached_tokens") > 100


async def test_closing_frees_the_slot(backend: Auto, url: str) -> None:
    async with aclosing(backend.stream(question("Tell me everything.", 1800))) as stream:
        async for event in stream:
            if isinstance(event, Token):
                break
    while any(slot["is_processing"] for slot in await asyncio.to_thread(_slots, url)):  # noqa: ASYNC110
        await asyncio.sleep(0.02)

    found = [event async for event in backend.stream(question("And now?", 4))]
    assert isinstance(found[-1], Done), found[-1]


@pytest.mark.parametrize("type_name", ["anthropic", "responses"])
async def test_it_speaks_other_dialects_too(url: str, type_name: str) -> None:
    file = config.parse(f'[backends.real]\ntype = "{type_name}"\nurl = "{url}"\n')
    backend = providers.open_backend(file, "real")

    async with asyncio.timeout(PATIENCE):
        found = [event async for event in backend.stream(question("Can I pause my plan?", 8))]
        models = await providers.list_models(file, "real")
    await backend.aclose()

    assert isinstance(found[-1], Done), found[-1]
    assert sum(isinstance(event, Token) for event in found) > 1
    assert metas(found, "completion_tokens") == found[-1].total_tokens > 1
    assert metas(found, "prompt_tokens") > 5
    assert metas(found, "model") in models


def _slots(url: str) -> list[dict[str, Any]]:
    with urlopen(f"{url}/slots", timeout=10) as response:
        slots: list[dict[str, Any]] = json.load(response)
    return slots
