"""The timeline, its numbers, and the account of TTFT."""

from __future__ import annotations

from array import array

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.events import Done, Error, Event, Meta, Status, Token
from backends.telemetry.critical_path import critical_path
from backends.telemetry.explain import duration, slow_first_token
from backends.telemetry.stages import STAGES, Span
from backends.telemetry.summary import Saved, account, saved, summarize, total_account, tpot
from backends.telemetry.timeline import STAGE_OF, Asked, Timeline


def played(*events: tuple[float, Event], call_ms: float = 0.0) -> Timeline:
    timeline = Timeline(call_ms)
    for at, event in events:
        timeline.add(event, at)
    return timeline


def test_every_status_belongs_to_a_stage() -> None:
    assert set(STAGE_OF.values()) <= set(STAGES)


def test_ttft_tpot_total_of_a_complete_turn() -> None:
    timeline = played(
        (5, Status("prefilling")),
        (100, Token("a")),
        (120, Token("b", count=2)),
        (160, Token("c")),
        (170, Done(4, 165)),
    )
    summary = summarize(timeline)
    assert summary.outcome == "complete"
    assert summary.ttft == 100
    assert summary.tpot == 20
    assert summary.tokens_per_second == 50
    assert summary.total == 170
    assert summary.tokens == 4


def test_the_backends_token_count_wins_over_chunks() -> None:
    timeline = played((10, Token("a", count=0)), (40, Token("b", count=0)), (50, Meta(completion_tokens=4)))
    assert summarize(timeline).tpot == 10


def test_what_an_answer_in_a_full_context_has_left_out_is_known_before_its_end() -> None:
    events = [
        (10.0, Status("generating")),
        (20.0, Token("a")),
        (30.0, Status("generating", detail="old ones left out")),
    ]
    assert played(*events[:2]).detail == ""
    timeline = played(*events, (40, Token("b")))
    timeline.end("cancelled", 50)
    assert timeline.detail == "old ones left out"
    assert played(*events, (40, Done(2, 40))).detail == "old ones left out"
    assert played(*events, (40, Done(2, 40, detail="all of it"))).detail == "all of it"


def test_tpot_needs_two_tokens_and_time_between() -> None:
    assert tpot(1, 9, 1) is None
    assert tpot(9, 9, 5) is None
    assert tpot(9, 9.9, 5) is None  # 4,000 tokens a second are those of a pipe
    assert tpot(9, 13, 5) == 1


@pytest.mark.parametrize(
    ("event", "outcome"),
    [
        (Done(1, 1), "complete"),
        (Done(1, 1, "length"), "truncated"),
        (Done(1, 1, "cancelled"), "cancelled"),
        (Error("INTERRUPTED", "gone"), "interrupted"),
        (Error("TIMEOUT_IDLE", "nothing more"), "interrupted"),
    ],
)
def test_the_endings_are_told_apart(event: Event, outcome: str) -> None:
    timeline = played((1, Token("a")), (2, event))
    timeline.end("cancelled", 3)  # too late: the first ending stands
    assert (timeline.outcome, timeline.end_ms) == (outcome, 2)


def test_what_never_began_has_failed() -> None:
    assert played((1, Status("connecting")), (2, Error("CONNECT", "nobody there"))).outcome == "failed"


def test_what_an_ending_says_of_itself_is_kept() -> None:
    timeline = Timeline.load(played((1, Token("a")), (2, Done(1, 1, "length", "the context is full"))).dump())
    assert (timeline.outcome, timeline.detail) == ("truncated", "the context is full")


def test_statuses_grow_spans_until_a_report_replaces_them() -> None:
    timeline = played((2, Status("queued")), (30, Status("prefilling")))
    assert timeline.spans(50) == [
        Span("provider_queue", 2, 28, "derived"),
        Span("prefill", 30, 20, "derived"),
    ]
    timeline.add(Meta(spans=(Span("provider_queue", 1, 27), Span("prefill", 28, 40))), 70)
    timeline.add(Token("a"), 71)
    assert timeline.spans(80) == [
        Span("provider_queue", 1, 27),
        Span("prefill", 28, 40),
        Span("total_generation", 71, 9, "client"),
    ]


def test_reported_spans_are_placed_on_the_clock_of_enter() -> None:
    timeline = played((50, Meta(spans=(Span("prefill", 10, 20),))), call_ms=7)
    assert timeline.spans(60) == [Span("prefill", 17, 20)]


def test_a_closing_status_dates_its_stage() -> None:
    timeline = played((0, Status("retrieving")), (12, Status("retrieving", ms=10)), (12, Status("assembling")))
    assert timeline.spans(15)[0] == Span("retrieval", 2, 10, "derived")


def test_dump_and_load_keep_everything_that_is_shown() -> None:
    timeline = played(
        (5, Status("prefilling")),
        (60, Meta(model="m", prompt_tokens=7, spans=(Span("prefill", 5, 50),))),
        (61, Token("a")),
        (80, Token("b", count=3)),
        (90, Error("TIMEOUT_IDLE", "silence")),
        call_ms=1,
    )
    again = Timeline.load(timeline.dump())
    assert summarize(again) == summarize(timeline)
    assert again.spans(90) == timeline.spans(90)
    assert again.error == timeline.error
    assert list(again.chunk_ms) == [61, 80]
    assert list(again.chunk_tokens) == [1, 3]


def test_a_stage_that_comes_twice_is_kept_twice() -> None:
    timeline = played((0, Status("queued")), (10, Status("prefilling")), (15, Status("queued")), (30, Token("a")))
    queue = [(span.offset, span.duration) for span in timeline.spans(40) if span.stage == "provider_queue"]
    assert queue == [(0, 10), (15, 15)]


def test_the_place_in_the_queue_is_kept() -> None:
    timeline = played((0, Status("queued", position=3)), (10, Status("queued", position=1)))
    timeline.add(Token("a"), 20)
    assert timeline.queue_position == 3
    assert Timeline.load(timeline.dump()).queue_position == 3


def test_what_comes_after_the_servers_end_is_the_way_back() -> None:
    timeline = played(
        (10, Token("a")),
        (60, Meta(spans=(Span("prefill", 0, 10), Span("total_generation", 10, 40)))),
        (62, Done(1, 62)),
    )
    assert timeline.spans(62)[-1] == Span("network_out", 50, 12, "derived")
    again = Timeline.load(timeline.dump())
    assert again.spans(62) == timeline.spans(62)
    bill = total_account(timeline)
    assert bill is not None
    assert (bill.total, bill.unattributed) == (62, 0)
    assert dict(bill.parts) == {"prefill": 10, "total_generation": 40, "network_out": 12}


def test_drawing_the_first_token_is_a_stage_beside_the_generation() -> None:
    timeline = played((10, Token("a")))
    timeline.shown(10.4)
    assert [span.stage for span in timeline.spans(20)] == ["total_generation"]
    timeline.shown(18)
    timeline.add(Token("b"), 50)
    timeline.add(Done(2, 50), 50)
    timeline.shown(60)  # too late to be of the turn that was stored
    assert [span for span in timeline.spans(50) if span.stage == "render"] == [Span("render", 10, 8, "client")]
    assert Timeline.load(timeline.dump()).spans(50) == timeline.spans(50)
    bill = total_account(timeline)
    assert bill is not None
    assert dict(bill.parts) == {"total_generation": 40}


def test_a_timeline_as_it_was_stored_before_can_be_read() -> None:
    stored = msgspec.msgpack.encode(
        {
            "call_ms": 1.0,
            "outcome": "complete",
            "usage": {"model": "m", "prompt_tokens": 7},
            "spans": [{"stage": "prefill", "offset": 1.0, "duration": 9.0}],
            "first_token_ms": 10.0,
            "last_token_ms": 12.5,
            "end_ms": 13.0,
            "tokens": 4,
            "chunk_ms": array("f", [10.0, 12.5]).tobytes(),
            "chunk_tokens": array("H", [1, 3]).tobytes(),
        }
    )
    timeline = Timeline.load(stored)
    assert (timeline.usage.model, timeline.usage.prompt_tokens) == ("m", 7)
    assert (list(timeline.chunk_ms), list(timeline.chunk_tokens)) == ([10.0, 12.5], [1, 3])
    assert Timeline.load(timeline.dump()).spans(13) == timeline.spans(13)


def test_a_cancel_saves_at_most_the_rest_of_the_limit() -> None:
    timeline = Timeline(asked=Asked("there", token_limit=100, output_price=15.0))
    timeline.add(Token("words", count=40), 2.0)
    assert saved(timeline) is None
    timeline.end("cancelled", 3.0)
    assert saved(timeline) == Saved(60, pytest.approx(60 * 15.0 / 1e6))
    assert saved(Timeline.load(timeline.dump())) == saved(timeline)


def test_the_path_has_no_hole() -> None:
    path = critical_path([Span("retrieval", 5, 25), Span("prefill", 10, 50), Span("total_generation", 70, 20)], 70, 100)
    assert [(segment.start, segment.end, segment.stage) for segment in path] == [
        (0, 5, None),
        (5, 10, "retrieval"),
        (10, 60, "prefill"),
        (60, 70, None),
        (70, 90, "total_generation"),
        (90, 100, None),
    ]


def test_overlapping_stages_are_billed_to_the_one_that_was_waited_for() -> None:
    bill = account([Span("retrieval", 0, 30), Span("prefill", 10, 50), Span("connect", 70, 5)], 100)
    assert dict(bill.parts) == {"retrieval": 10, "prefill": 50, "connect": 5}
    assert bill.unattributed == 35


spans = st.lists(
    st.builds(
        Span,
        st.sampled_from(STAGES),
        st.floats(0, 1000, allow_nan=False),
        st.floats(0, 1000, allow_nan=False),
    ),
    max_size=12,
)


@given(spans, st.floats(0, 2000))
def test_the_account_always_adds_up(some: list[Span], until: float) -> None:
    bill = account(some, until)
    assert sum(ms for _, ms in bill.parts) + bill.unattributed == pytest.approx(until)
    assert all(ms >= 0 for _, ms in bill.parts)
    assert bill.unattributed >= 0


def test_the_slow_line_names_the_largest_part() -> None:
    meta = Meta(prompt_tokens=2950, cached_tokens=0, spans=(Span("prefill", 600, 976),))
    timeline = played((1590, meta), (1600, Token("a")))
    assert slow_first_token(timeline, 500) == "TTFT 1.6 s: 61 % prefill of 2,950 tokens, none cached"
    assert slow_first_token(timeline, 1600) is None


def test_the_slow_line_admits_what_it_does_not_know() -> None:
    assert slow_first_token(played((900, Token("a"))), 500) == (
        "TTFT 900 ms: 100 % unattributed, the backend does not say"
    )


@pytest.mark.parametrize(("ms", "text"), [(84.6, "85 ms"), (999.6, "1.0 s"), (1600, "1.6 s"), (125_000, "2 min 5 s")])
def test_durations_for_people(ms: float, text: str) -> None:
    assert duration(ms) == text
