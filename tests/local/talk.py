"""Asking a backend, and looking at the child behind it."""

from __future__ import annotations

import msgspec

from backends.backend import Backend, ChatRequest, Message, Sampling
from backends.events import Event, Token
from backends.local.launcher import Settings
from backends.local.spec import Endpoint


def ask(text: str = "hello", max_tokens: int = 4) -> ChatRequest:
    """A greedy request for `max_tokens` tokens."""
    return ChatRequest((Message("user", text),), max_tokens=max_tokens, sampling=Sampling(temperature=0.0))


async def answer(backend: Backend, request: ChatRequest | None = None) -> list[Event]:
    """All events of an answer."""
    return [event async for event in backend.stream(request or ask())]


async def first_token(events: object) -> Token:
    """The first token of a stream that goes on."""
    async for event in events:  # type: ignore[attr-defined]
        if isinstance(event, Token):
            return event
    raise AssertionError("the stream ended without a token")


def text_of(events: list[Event]) -> str:
    """The answer's text."""
    return "".join(event.text for event in events if isinstance(event, Token))


def endpoints(settings: Settings) -> list[Endpoint]:
    """The children that can be found in the runtime folder."""
    assert settings.folder is not None
    return [msgspec.json.decode(path.read_bytes(), type=Endpoint) for path in settings.folder.glob("*.json")]


def child(settings: Settings) -> int:
    """The process id of the one child."""
    (endpoint,) = endpoints(settings)
    return endpoint.pid
