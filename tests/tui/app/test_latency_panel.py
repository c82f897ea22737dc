"""The latency panel's lines, from timelines with known times."""

from __future__ import annotations

import pytest

from backends.config import Budget
from backends.events import Done, Error, Event, Meta, Status, Token
from backends.telemetry.stages import STAGES, Span
from backends.telemetry.timeline import Asked, Timeline
from tui.widgets.latency_panel import numbers_line, panel_lines, strip_lines
from tui.widgets.sparkline import BARS
from tui.widgets.waterfall import MOVES, axis_end, bar, by_stage, gaps

BUDGET = Budget(500, 5_000)
TURN: tuple[tuple[float, Event], ...] = (
    (10, Status("retrieving", 1, 3)),
    (110, Status("prefilling", 3, 3, total=800, cached=600)),
    (310, Token("a")),
    (410, Token("b")),
    (510, Token("c")),
    (
        510,
        Meta(
            prompt_tokens=800,
            cached_tokens=600,
            draft_tokens=40,
            accepted_tokens=30,
            kv_used=803,
            kv_cells=2048,
            kv_bytes_per_token=1024,
            gpu_used=6 << 30,
            gpu_total=24 << 30,
        ),
    ),
    (520, Done(3, 510)),
)


def timeline(until: float, events: tuple[tuple[float, Event], ...] = TURN) -> Timeline:
    """The turn as far as it had come `until` ms after Enter."""
    result = Timeline()
    for at, event in events:
        if at <= until:
            result.add(event, at)
    return result


def panel(until: float, width: int = 40) -> list[str]:
    return [line.plain.rstrip() for line in panel_lines(timeline(until), until, width, BUDGET)]


def row(lines: list[str], name: str) -> str:
    return next(line for line in lines if line.startswith(name))


def test_a_finished_turn() -> None:
    lines = panel(1000)
    assert lines[0].split() == ["Latency", "complete"]
    assert "310 ms" in row(lines, "TTFT")
    assert "500 ms" in row(lines, "TTFT")  # its budget
    assert "100 ms  10 tok/s" in row(lines, "TPOT")
    assert "520 ms" in row(lines, "Total")
    assert row(lines, "retrieval").endswith("~100 ms")
    assert row(lines, "prefill").endswith("~200 ms")
    assert row(lines, "generation").endswith("210 ms")
    assert row(lines, "unattributed").endswith("10 ms")
    assert row(lines, "in ") == "in      800 tokens · 75 % cached"
    assert row(lines, "out") == "out     3 tokens"
    assert row(lines, "drafts") == "drafts  30 of 40 kept · 75 %"
    assert row(lines, "KV") == "KV      803 of 2,048 · 0.8 MiB"
    assert row(lines, "GPU") == "GPU     6.0 of 24.0 GiB"


def test_a_turn_on_an_axis_that_others_share() -> None:
    one = timeline(1000)
    shared = [line.plain.rstrip() for line in panel_lines(one, 1000, 40, BUDGET, 2 * 520, headed=False)]
    alone = panel(1000)
    assert shared[0] == row(alone, "TTFT")
    assert row(shared, " " * 13 + "╶").endswith("1.0 s")
    assert row(shared, "generation").endswith("210 ms")
    assert 0 < row(shared, "generation").index("█") < row(alone, "generation").index("█")
    assert strip_lines(one, 1000, 40, BUDGET, 2 * 520)[0].plain.endswith("·" * 20)


def test_the_rows_before_the_first_token_add_up_to_the_ttft() -> None:
    lines = panel(1000)
    costs = [row(lines, name).rsplit("~", 1)[-1] for name in ("retrieval", "prefill")]
    costs.append(row(lines, "unattributed").split()[-2] + " ms")
    assert sum(float(cost.split()[0]) for cost in costs) == 310


def test_the_current_stage_grows() -> None:
    early, late = panel(60), panel(100)
    assert early[0].split() == ["Latency", "running"]
    assert row(early, "retrieval").endswith("~50 ms")
    assert row(late, "retrieval").endswith("~90 ms")
    assert row(late, "retrieval").count("█") > row(early, "retrieval").count("█")
    assert not any(line.startswith("prefill") for line in late)


def test_a_measured_span_replaces_the_derived_one() -> None:
    told = (*TURN[:-1], (515.0, Meta(spans=(Span("prefill", 120, 180),))), TURN[-1])
    lines = [line.plain.rstrip() for line in panel_lines(timeline(1000, told), 1000, 40, BUDGET)]
    assert row(lines, "prefill").endswith("°180 ms")
    assert "~" not in row(lines, "prefill")


def test_the_stage_that_goes_on_turns() -> None:
    assert row(panel(60), "retrieval")[10] != row(panel(300), "prefill")[8] != " "
    assert row(panel(60), "retrieval")[10] in MOVES
    assert not set(MOVES) & set("".join(panel(1000)))


def test_the_gaps_between_the_pieces() -> None:
    pieces = [(float(10 * at + (900 if at > 50 else 0)), Token("x")) for at in range(1, 100)]
    lines = [line.plain.rstrip() for line in panel_lines(timeline(2000, tuple(pieces)), 2000, 40, BUDGET)]
    bars = row(lines, "Gaps").split()[1]
    assert len(bars) == 32
    assert bars.count("█") == 1
    assert set(bars) == {"█", bars[0]}
    assert lines[lines.index(row(lines, "Gaps")) + 1].strip() == "P50 10 · P95 10 · max 910 ms"


def test_how_fast_it_is_of_late() -> None:
    slow = [(100.0 * at, Token("x")) for at in range(1, 11)]
    fast = [(1000 + 10.0 * at, Token("x")) for at in range(1, 101)]
    line = next(line for line in panel_lines(timeline(2000, (*slow, *fast)), 2000, 60, BUDGET) if "TPOT" in line.plain)
    assert line.plain.endswith("57 tok/s · now 100")


def test_waiting_in_the_queue_tells_the_place_and_about_how_long() -> None:
    queued = ((10.0, Status("queued", position=3, expected_ms=2100)), (2000.0, Token("x")))
    waiting = [line.plain for line in panel_lines(timeline(500, queued), 500, 40, BUDGET)]
    assert waiting[1] == "queued, place 3, about 2.1 s"
    assert row(waiting, "queue   ") == "queue   came at place 3"


def test_what_is_said_in_the_midst_of_an_answer() -> None:
    told = ((10.0, Token("x")), (20.0, Status("generating", detail="7 turns left out")), (30.0, Token("y")))
    assert panel_lines(timeline(30, told), 40, 40, BUDGET)[1].plain == "7 turns left out"
    lost = (*told, (900.0, Status("connecting", detail="again")))
    assert panel_lines(timeline(900, lost), 950, 40, BUDGET)[1].plain == "connecting (again)"
    back = (*lost, (990.0, Token("z")))
    assert panel_lines(timeline(990, back), 995, 40, BUDGET)[1].plain == "7 turns left out"


def test_what_typing_ahead_bought() -> None:
    assert not any("ahead" in line for line in panel(1000))
    turn = timeline(1000, (*TURN[:-1], (515.0, Meta(warmed_tokens=212))))
    lines = [line.plain for line in panel_lines(turn, 600, 40, BUDGET)]
    assert lines[lines.index(row(lines, "in ")) + 1].strip() == "212 tokens · read ahead"


def test_what_drafting_bought() -> None:
    meta = Meta(completion_tokens=240, draft_tokens=160, accepted_tokens=118)
    lines = [line.plain for line in panel_lines(timeline(1000, (*TURN[:-1], (515.0, meta))), 600, 40, BUDGET)]
    assert lines[lines.index(row(lines, "drafts")) + 1].strip() == "2.0 a step · 118 steps fewer"


def test_what_a_cancel_saved_and_what_it_cost() -> None:
    turn = timeline(400)
    turn.asked = Asked("gpu", "chat", 1_000, output_price=0.6)
    turn.add(Meta(cost=0.003121), 400)
    turn.end("cancelled", 400)
    lines = [line.plain for line in panel_lines(turn, 400, 40, BUDGET)]
    assert row(lines, "saved") == "saved   at most 999 tokens · $0.00060"
    assert row(lines, "cost") == "cost    $0.0031"
    line = "saved ≤ 999 tokens · $0.00060"
    assert line in numbers_line(turn, 400, 76, BUDGET).plain


def test_the_strip_shows_the_gaps_where_there_is_room() -> None:
    _, numbers = strip_lines(timeline(500), 500, 62, BUDGET)
    assert not set(BARS) & set(numbers.plain)
    _, numbers = strip_lines(timeline(1000), 1000, 160, BUDGET)
    assert numbers.plain.endswith(" " + 2 * BARS[2])
    assert numbers.cell_len == 160


def test_what_never_came_is_a_dash() -> None:
    failed = ((10.0, Status("connecting")), (40.0, Error("CONNECT", "nobody listens")))
    lines = [line.plain for line in panel_lines(timeline(100, failed), 100, 40, BUDGET)]
    assert lines[0].split() == ["Latency", "failed"]
    assert row(lines, "TTFT").split()[1] == "–"
    assert row(lines, "Total").split()[1:3] == ["40", "ms"]


@pytest.mark.parametrize("width", [20, 36, 58, 120])
@pytest.mark.parametrize("until", [0, 5, 60, 400, 1000])
def test_no_line_is_wider_than_the_panel_at_its_usual_widths(width: int, until: float) -> None:
    if width >= 36:
        assert max(len(line) for line in panel(until, width)) <= width
    assert numbers_line(timeline(until), until, width, BUDGET).cell_len <= width
    assert strip_lines(timeline(until), until, width, BUDGET)[0].cell_len == width


HUGE = 123_456_789
EXTREME: tuple[tuple[float, Event], ...] = (
    (10, Status("queued", 2, 3, position=123_456, expected_ms=9e8, detail="behind everybody else who has come before")),
    (20, Status("prefilling", 3, 3, total=HUGE, done=HUGE, detail="a prompt that was in no cache")),
    (7e6, Meta(spans=tuple(Span(stage, 0, 9e8, "derived") for stage in STAGES))),
    (8e6, Token("a")),
    (8e6 + 10, Token("b", count=60_000)),
    (9e7, Token("c")),
    (
        9e7,
        Meta(
            prompt_tokens=HUGE,
            completion_tokens=HUGE,
            cached_tokens=HUGE,
            draft_tokens=HUGE,
            accepted_tokens=HUGE - 1,
            kv_used=HUGE,
            kv_cells=HUGE,
            kv_bytes_per_token=1 << 20,
            gpu_used=1 << 50,
            gpu_total=1 << 50,
            warmed_tokens=HUGE,
            cost=12_345.678,
            connection="reused, HTTP/1.1, through the proxy http://proxy.somewhere.example.com:8080",
            route="a-backend-with-a-very-long-name: fastest, 900000000 ms expected, no other one is left",
        ),
    ),
)


@pytest.mark.parametrize("width", [35, 40, 53])  # of windows 100, 120 and 200 columns wide
@pytest.mark.parametrize("until", [15, 7e5, 8e6 + 10, 9e7, 1e8])
def test_no_line_is_wider_than_the_panel_with_extreme_numbers(width: int, until: float) -> None:
    turn = timeline(until, EXTREME)
    turn.asked = Asked("gpu", "chat", 2 * HUGE, output_price=12_345.0)
    for _ in range(2):
        lines = [line.plain.rstrip() for line in panel_lines(turn, until, width, BUDGET)]
        assert [line for line in lines if len(line) > width] == []
        turn.end("cancelled", until)


def test_what_is_too_long_for_the_panel_ends_with_a_word() -> None:
    waits = timeline(500, ((10.0, Status("prefilling", 2, 3, total=2_950, done=1_024)),))
    told = [panel_lines(waits, 500, width, BUDGET)[1].plain for width in (53, 40, 30)]
    assert told == [
        "Step 2 of 3: prefilling 1,024 of 2,950 tokens",
        "2/3 prefilling 1,024 of 2,950 tokens",
        "2/3 prefilling 1,024 of …",
    ]


def test_the_strip_names_the_stages_that_have_room() -> None:
    stages, numbers = (line.plain for line in strip_lines(timeline(1000), 1000, 80, BUDGET))
    assert stages.split()[-3:] == ["retrieval", "prefill", "generation"]
    assert numbers.startswith("TTFT 310 ms · 10 tok/s · total 520 ms")


def test_the_numbers_line_drops_from_the_end() -> None:
    assert numbers_line(timeline(1000), 1000, 12, BUDGET).plain == "TTFT 310 ms"


def test_bars_are_exact_to_half_a_cell_and_never_invisible() -> None:
    assert bar([(0, 50)], 100, 10) == "█████     "
    assert bar([(25, 50)], 100, 10) == "  ▐██     "
    assert bar([(99.9, 100)], 100, 10) == "         ▐"
    assert bar([(0, 0)], 100, 10) == "▌         "
    assert bar([], 100, 10) == " " * 10


def test_gaps_are_what_no_stage_before_the_first_token_covers() -> None:
    spans = [Span("retrieval", 10, 20), Span("prefill", 25, 30), Span("total_generation", 60, 40)]
    assert gaps(spans, 60) == [(0.0, 10), (55, 60)]


def test_stages_are_in_the_order_in_which_they_began_and_generation_after_them() -> None:
    spans = [Span("total_generation", 44, 9), Span("prefill", 5, 30), Span("retrieval", 0, 20), Span("prefill", 45, 5)]
    stages = [(stage, len(own)) for stage, own in by_stage(spans)]
    assert stages == [("retrieval", 1), ("prefill", 2), ("total_generation", 1)]


@pytest.mark.parametrize(
    ("now", "end"), [(0, 500), (500, 500), (501, 750), (800, 1000), (4001, 5000), (60_000, 75_000)]
)
def test_the_axis_ends_at_a_round_time(now: float, end: float) -> None:
    assert axis_end(now, at_least=500) == pytest.approx(end)


def test_which_of_several_backends_answers_and_why_in_as_many_lines_as_it_takes() -> None:
    routed = timeline(1000, (*TURN[:-1], (515, Meta(route="laptop: gpu gave no token within 3000 ms")), TURN[-1]))

    lines = [line.plain.rstrip() for line in panel_lines(routed, 1000, 40, BUDGET)]

    assert lines[-2:] == ["route   laptop: gpu gave no token within", "        3000 ms"]


OURS, THEIRS = Span("connect", 0, 30, "client"), Span("prefill", 120, 180)


def test_who_says_a_time_is_told_below_the_bars() -> None:
    ours = panel_lines(timeline(60, ((0.0, Status("connecting")), (30.0, Meta(spans=(OURS,))))), 60, 40, BUDGET)
    theirs = panel_lines(timeline(1000, (*TURN[:-1], (515.0, Meta(spans=(THEIRS,))), TURN[-1])), 1000, 40, BUDGET)

    assert not any("° server" in line.plain or "derived" in line.plain for line in ours)
    assert any("° server  ~ derived" in line.plain for line in theirs)
