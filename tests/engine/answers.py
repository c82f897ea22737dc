"""Asking an engine and reading what it says, with the contract of a stream checked on the way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from backends.backend import ChatRequest, Message, Sampling
from backends.engine import Engine
from backends.events import Done, Error, Event, Meta, Status, Token, is_terminal

GREEDY = Sampling(temperature=0)


def request(content: str = "pause the plan", max_tokens: int | None = 24, **fields: Any) -> ChatRequest:
    """One greedy request with a single user message."""
    fields.setdefault("sampling", GREEDY)
    return ChatRequest((Message("user", content),), max_tokens=max_tokens, **fields)


async def ask(engine: Engine, content: str = "pause the plan", max_tokens: int | None = 24, **fields: Any) -> Answer:
    """The whole answer to `request(...)`."""
    return await read(engine.stream(request(content, max_tokens, **fields)))


async def read(stream: AsyncIterator[Event]) -> Answer:
    """All of `stream`, to its end."""
    return Answer([event async for event in stream])


class Answer:
    """The events of one stream. Raises AssertionError when they break the contract."""

    def __init__(self, events: list[Event]) -> None:
        self.events = events
        assert events, "a stream without events"
        assert is_terminal(events[-1]), f"ends without a terminal event: {events[-1]}"
        assert not any(is_terminal(event) for event in events[:-1]), "more than one terminal event"
        phases = [PHASES.index(phase) for event in events if (phase := _phase(event)) in PHASES]
        assert phases == sorted(phases), f"out of order: {[_phase(event) for event in events]}"

    @property
    def end(self) -> Done | Error:
        assert isinstance(self.events[-1], Done | Error)
        return self.events[-1]

    @property
    def error(self) -> Error:
        assert isinstance(self.end, Error), self.end
        return self.end

    @property
    def done(self) -> Done:
        assert isinstance(self.end, Done), self.end
        return self.end

    @property
    def text(self) -> str:
        assert isinstance(self.end, Done), self.end
        return "".join(event.text for event in self.events if isinstance(event, Token))

    @property
    def tokens(self) -> int:
        return sum(event.count for event in self.events if isinstance(event, Token))

    @property
    def metas(self) -> list[Meta]:
        return [event for event in self.events if isinstance(event, Meta)]

    def statuses(self, name: str) -> list[Status]:
        return [event for event in self.events if isinstance(event, Status) and event.status == name]


PHASES = ["loading", "queued", "prefilling", "generating", "token"]


def _phase(event: Event) -> str:
    if isinstance(event, Status) and event.status == "generating" and event.detail:
        return "news"  # of an answer that goes on
    return event.status if isinstance(event, Status) else type(event).__name__.lower()
