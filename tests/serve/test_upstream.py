"""A reader who goes away, all the way up: ours, the provider behind us, and a real llama.cpp server's slot."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any
from urllib.request import urlopen

import pytest

from backends.providers.openai import OpenAI, Options
from backends.serve.app import Public
from backends.serve.models import Models
from tests.counterparts.llama_server import running
from tests.fakes.openai_server import openai_server
from tests.serve.conftest import Service, Start, eventually

FORMS = [
    ("/v1/chat", {"messages": [{"role": "user", "content": "forever and ever"}], "max_tokens": 1800}),
    (
        "/v1/chat/completions",
        {
            "model": "box",
            "messages": [{"role": "user", "content": "forever and ever"}],
            "max_tokens": 1800,
            "stream": True,
        },
    ),
]


async def hang_up(service: Service, path: str, body: dict[str, Any], after: bytes) -> None:
    """Ask, read up to `after`, and close the connection."""
    async with service.http.stream("POST", path, json=body) as response:
        text = b""
        async for piece in response.aiter_bytes():
            text += piece
            if after in text:
                return
    raise AssertionError(text)


@pytest.mark.parametrize(("path", "body"), FORMS, ids=["native", "openai"])
async def test_the_providers_request_is_aborted(start: Start, path: str, body: dict[str, Any]) -> None:
    async with openai_server() as server:
        backend = OpenAI(Options(url=server.url))
        service = await start(backend, public=Public(Models("box")))

        await hang_up(service, path, body, b"forever")

        await eventually(lambda: (server.answering, server.disconnects) == (0, 1))
        await backend.aclose()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real server."""
    with running(tmp_path_factory.mktemp("llama-server") / "log") as url:
        yield url


async def test_a_real_servers_slot_is_free_again(start: Start, url: str) -> None:
    backend = OpenAI(Options(url=url))
    service = await start(backend, public=Public(Models("box")))

    await hang_up(service, *FORMS[1], b'"content":"')

    while any(slot["is_processing"] for slot in await asyncio.to_thread(_slots, url)):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    whole = await service.http.post("/v1/chat/completions", json=FORMS[1][1] | {"stream": False, "max_tokens": 4})
    assert whole.status_code == 200, whole.text
    assert whole.json()["usage"]["completion_tokens"] == 4
    assert whole.json()["timings"]["prompt_ms"] > 0
    await backend.aclose()


def _slots(url: str) -> list[dict[str, Any]]:
    with urlopen(f"{url}/slots", timeout=10) as response:
        slots: list[dict[str, Any]] = json.load(response)
    return slots
