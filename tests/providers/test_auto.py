"""The provider `auto`: what it takes a server for, and that it says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from backends.backend import ChatRequest, Message
from backends.errors import ConfigError
from backends.events import Event, Meta, Status, Token
from backends.foreign.dialect import QUESTIONS
from backends.providers import Site
from backends.providers.auto import Auto, Options, connect
from backends.serve.app import create_app
from backends.serve.server import listening
from tests.fakes.anthropic_server import anthropic_server
from tests.fakes.echo import Echo
from tests.fakes.http_server import Server, http_server, response
from tests.fakes.ollama_server import ollama_server
from tests.fakes.openai_server import openai_server

PATIENCE = 20.0
REQUEST = ChatRequest((Message("user", "one two"),), max_tokens=9)


def opened(url: str, **options: str) -> Auto:
    backend = connect(Options(url=url, **options), Site("url", lambda _: Echo()))
    assert isinstance(backend, Auto)
    return backend


async def ask(backend: Auto) -> list[Event]:
    async with asyncio.timeout(PATIENCE):
        return [event async for event in backend.stream(REQUEST)]


@pytest.mark.parametrize(
    ("serving", "type_name"),
    [(openai_server, "openai"), (anthropic_server, "anthropic"), (ollama_server, "ollama")],
)
async def test_a_server_is_asked_once_and_then_talked_to(
    serving: Callable[[], AbstractAsyncContextManager[Server]], type_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", "sesame")
    async with serving() as server:
        backend = opened(server.url, api_key_env="SOME_KEY")
        first = await ask(backend)
        asked = len(server.requests)
        second = await ask(backend)
        models = await backend.models()
        await backend.aclose()

    assert backend.dialect is not None
    assert backend.dialect.type == type_name
    assert Status("connecting", detail=backend.dialect.server) in first
    for answer in (first, second):
        assert "".join(event.text for event in answer if isinstance(event, Token)) == "one two"
    assert len(server.requests) - asked <= 2, "the second answer asks for nothing again"
    assert len(models) == 1
    questions = server.requests[: len(QUESTIONS)]
    assert {question.path for question in questions} == set(QUESTIONS)
    assert not any("sesame" in str(question.headers) or question.body for question in questions)


async def test_our_own_service(tmp_path) -> None:
    async with listening(create_app(Echo()), uds=str(tmp_path / "serve"), grace=0.1) as address:
        backend = opened(address)
        found = await ask(backend)
        models = await backend.models()
        await backend.aclose()

    assert backend.dialect is not None
    assert (backend.dialect.type, models) == ("native", ())
    metas = [event for event in found if isinstance(event, Meta) and event.latency is not None]
    assert all(span.offset >= 0 for meta in metas for span in meta.spans)


async def test_where_the_url_says_it_nobody_is_asked() -> None:
    async with openai_server() as server:
        backend = opened(f"{server.url}/v1", model="m")
        await ask(backend)
        await backend.aclose()

    assert [request.path for request in server.requests] == ["/v1/chat/completions"]


async def test_a_server_that_tells_nothing_is_taken_for_the_common_form() -> None:
    async with http_server(lambda _: [response(404, "text/html", b"<html>nothing</html>")]) as server:
        backend = opened(server.url, model="m")
        await ask(backend)
        await backend.aclose()

    assert backend.dialect is not None
    assert (backend.dialect.type, "as far as can be told" in backend.dialect.server) == ("openai", True)
    assert server.requests[-1].path == "/v1/chat/completions"


def test_a_wrong_url_or_key_is_told_at_once() -> None:
    with pytest.raises(ConfigError):
        opened("ftp://x")
    with pytest.raises(ConfigError, match="NO_SUCH_KEY"):
        opened("http://x", api_key_env="NO_SUCH_KEY")
