"""The closed vocabulary and its wire form."""

from __future__ import annotations

import json
from typing import get_args

import msgspec
import pytest

from backends import events
from backends.events import Citation, Done, Error, Event, Meta, Reasoning, Status, Token
from backends.telemetry.stages import Span

EXAMPLES: list[Event] = [
    Status("retrieving", step=1, steps=3, detail="3 passages", ms=4.5, passages=(Citation("a.md", "S1", "A"),)),
    Status("prefilling", total=100, done=40, cached=20),
    Token("The"),
    Token(" answer\n", count=3),
    Reasoning("hm"),
    Citation("billing-faq.pdf", "S1", "Pausing", "page 3", "Plans can be paused."),
    Meta(model="m", latency=12.5, prompt_tokens=9, cached_tokens=0, spans=(Span("prefill", 1, 2),)),
    Error("OVERLOADED", "the queue is full", retryable=True, retry_after=2.5),
    Done(342, 4200, "length"),
]


@pytest.mark.parametrize("event", EXAMPLES)
def test_every_event_survives_the_wire(event: Event) -> None:
    assert events.decode(events.name(event), events.encode(event)) == event


def test_the_examples_cover_the_vocabulary() -> None:
    assert {type(event) for event in EXAMPLES} == set(get_args(Event))


def test_the_wire_names_are_those_of_the_protocol() -> None:
    assert json.loads(events.encode(Done(342, 4200))) == {"totalTokens": 342, "latency": 4200}
    assert json.loads(events.encode(Error("X", "y", True, 3))) == {
        "code": "X",
        "message": "y",
        "retryable": True,
        "retryAfter": 3,
    }
    assert json.loads(events.encode(Token("The"))) == {"text": "The"}
    assert b"cachedTokens" in events.encode(Meta(cached_tokens=0))


def test_what_a_newer_server_adds_is_ignored() -> None:
    assert events.decode("audio", b"{}") is None
    assert events.decode("token", b'{"text": "a", "logprob": -1}') == Token("a")


def test_a_malformed_event_is_an_error() -> None:
    with pytest.raises(msgspec.DecodeError):
        events.decode("token", b'{"text": 3}')
    with pytest.raises(msgspec.DecodeError):
        events.decode("done", b"{")


def test_only_done_and_error_end_a_stream() -> None:
    assert [type(event) for event in EXAMPLES if events.is_terminal(event)] == [Error, Done]
