"""A server's spans on the client's clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.events import Meta
from backends.sse.placement import Timing, arrival, place
from backends.telemetry.stages import Span
from backends.telemetry.summary import account

TIMES = st.floats(min_value=0, max_value=10_000)


def test_what_the_server_does_not_account_for_lies_before_its_work() -> None:
    timing = Timing(send_start=5.0, send_end=7.0)

    assert arrival(timing, received=37.0, latency=10.0) == 27.0


def test_a_client_that_noted_the_sending_late_does_not_push_the_server_back() -> None:
    assert arrival(Timing(send_start=5.0, send_end=20.0), received=30.0, latency=22.0) == 8.0


def test_a_server_that_claims_more_than_was_waited_makes_no_negative_network() -> None:
    assert arrival(Timing(send_start=5.0, send_end=7.0), received=10.0, latency=50.0) == 5.0


def test_a_new_connection_is_a_stage_of_its_own() -> None:
    timing = Timing(connect_start=1.0, connect_end=4.0, send_start=4.0, send_end=5.0)

    placed = place(Meta(latency=2.0), timing, received=10.0, arrived=8.0)

    assert placed.spans == (Span("connect", 1.0, 3.0, "client"), Span("network_in", 4.0, 4.0, "derived"))
    assert placed.latency == 10.0


def test_a_reused_connection_has_no_connect_stage() -> None:
    placed = place(Meta(), Timing(send_start=1.0, send_end=2.0), received=9.0, arrived=2.0)

    assert [span.stage for span in placed.spans] == ["network_in"]


def test_what_the_server_measured_as_a_client_is_the_servers_here() -> None:
    theirs = (Span("connect", 0.0, 5.0, "client"), Span("network_in", 5.0, 1.0, "derived"))

    placed = place(Meta(spans=theirs), Timing(), received=9.0, arrived=2.0)

    assert {(span.stage, span.by) for span in placed.spans[1:]} == {("connect", "server"), ("network_in", "server")}


def test_what_else_a_meta_says_is_kept() -> None:
    placed = place(Meta("m", 1.0, "id", prompt_tokens=7), Timing(), received=9.0, arrived=2.0)

    assert (placed.model, placed.request_id, placed.prompt_tokens) == ("m", "id", 7)


@given(connect=TIMES, send=TIMES, network=TIMES, queue=TIMES, prefill=TIMES)
def test_the_account_over_the_first_token_adds_up(
    connect: float, send: float, network: float, queue: float, prefill: float
) -> None:
    """Whatever the parts take, the stages cover the time to the first token without a gap or an overlap."""
    timing = Timing(0.0, connect, connect, connect + send)
    latency = queue + prefill
    received = timing.send_end + network + latency
    meta = Meta(latency=latency, spans=(Span("provider_queue", 0.0, queue), Span("prefill", queue, prefill)))

    placed = place(meta, timing, received, arrival(timing, received, latency))
    bill = account(placed.spans, received)

    assert bill.unattributed == pytest.approx(0.0, abs=1e-6)
    assert sum(part for _, part in bill.parts) == pytest.approx(received, abs=1e-6)
    assert placed.spans[-1].end == pytest.approx(received, abs=1e-6)
