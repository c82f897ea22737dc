"""Where a child's events stand on the clock of who asked. Pure but for the clock itself."""

from __future__ import annotations

import time

import pytest

from backends.events import Citation, Done, Error, Event, Meta, Status, Token
from backends.local.clock import Clock
from backends.telemetry.stages import Span

STARTED_MS = 5_000.0
"""So long ago was the call; far more than the test itself takes."""


def clock(*, waited: bool) -> Clock:
    return Clock(time.perf_counter() - STARTED_MS / 1000, waited=waited)


def load(events: list[Event]) -> Span | None:
    return next((span for event in events if isinstance(event, Meta) for span in event.spans), None)


def test_times_are_shifted_by_what_came_before() -> None:
    spans = (Span("prefill", 10.0, 20.0),)
    (meta,) = clock(waited=False).translate(Meta("m", latency=30.0, spans=spans))
    assert isinstance(meta, Meta)
    assert meta.latency == pytest.approx(STARTED_MS + 30, abs=1_000)
    assert meta.spans[0].offset == pytest.approx(STARTED_MS + 10, abs=1_000)
    assert meta.spans[0].duration == 20.0
    (done,) = clock(waited=False).translate(Done(1, 40.0))
    assert isinstance(done, Done)
    assert done.latency == pytest.approx(STARTED_MS + 40, abs=1_000)


def test_a_latency_that_was_not_told_stays_so() -> None:
    assert clock(waited=False).translate(Meta("m")) == [Meta("m")]


@pytest.mark.parametrize("event", [Status("prefilling"), Token("x"), Citation("a.md", "S1"), Error("X", "x")])
def test_the_start_is_closed_by_the_first_event_past_it(event: Event) -> None:
    it = clock(waited=True)
    for before in (Status("connecting"), Meta(request_id="r"), Status("loading", done=1, total=1000)):
        assert len(it.translate(before)) == 1
    meta, same = it.translate(event)
    assert same == event
    span = load([meta])
    assert span is not None
    assert (span.stage, span.offset, span.by) == ("model_load", 0.0, "derived")
    assert span.duration == pytest.approx(STARTED_MS, abs=1_000)
    assert it.translate(Token("y")) == [Token("y")]  # once


def test_a_search_before_the_model_is_needed_ends_it() -> None:
    called = time.perf_counter()
    it = Clock(called, waited=True)
    it.translate(Status("retrieving"))
    time.sleep(0.05)  # the search
    searched = load(it.translate(Status("prefilling")))
    assert searched is not None
    assert searched.end <= (time.perf_counter() - called) * 1000 - 50


def test_without_a_start_nothing_is_added() -> None:
    assert clock(waited=False).translate(Token("x")) == [Token("x")]
