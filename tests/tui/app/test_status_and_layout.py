"""What the status line says, what is dropped where space is short, and which shape the panel has."""

from __future__ import annotations

import pytest

from backends.events import Status, Token
from backends.telemetry.timeline import Timeline
from tui.history.conversation import Turn
from tui.screens.chat_status import status_info
from tui.screens.layout import lay_out, next_mode
from tui.widgets.status_line import StatusInfo, status_text
from tui.widgets.wording import describe

INFO = StatusInfo("demo", "smol-7m", "ready", "good", (("F1", "help"), ("Ctrl+Q", "quit")))


def test_the_status_line_fits_every_width() -> None:
    assert [width for width in range(1, 201) if status_text(INFO, width).cell_len > width] == []


def test_parts_are_dropped_from_the_least_important() -> None:
    assert status_text(INFO, 200).plain.split() == ["●", "demo", "smol-7m", "ready", "F1", "help", "Ctrl+Q", "quit"]
    assert status_text(INFO, 40).plain.split() == ["●", "demo", "smol-7m", "ready", "F1", "help"]
    assert status_text(INFO, 24).plain == "● demo  smol-7m  ready  "
    assert status_text(INFO, 14).plain == "● demo  ready "
    assert status_text(INFO, 8).plain == "● ready "


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (Status("connecting"), "connecting"),
        (Status("loading", total=1000, done=450), "loading the model 45 %"),
        (Status("queued", position=2), "queued, place 2"),
        (Status("queued", position=2, expected_ms=6_400, detail="about 6 s"), "queued, place 2, about 6.4 s"),
        (Status("queued", detail="no replica is free"), "queued (no replica is free)"),
        (Status("reranking", 2, 3), "Step 2 of 3: reranking"),
        (Status("prefilling", total=1234, done=1000), "prefilling 1,000 of 1,234 tokens"),
        (Status("loading", detail="weights\x1b[31m"), "loading the model (weights␛[31m)"),
    ],
)
def test_statuses_in_words(status: Status, words: str) -> None:
    assert describe(status) == words


def answer(outcome: str, content: str = "text") -> Turn:
    turn = Turn("2", "1", "assistant", content)
    turn.outcome = outcome  # type: ignore[assignment]
    turn.timeline = Timeline()
    return turn


def test_a_running_answer_tells_its_stage_then_its_speed() -> None:
    turn = answer("running", "")
    assert turn.timeline is not None
    waiting = Status("reranking", 2, 3)
    info = status_info("demo", "ready", turn, running=True, status=waiting, elapsed_ms=1234)
    assert info.state == "Step 2 of 3: reranking  1.2 s"
    assert info.hints[0] == ("Esc", "cancel")
    for at in (100, 105, 110):
        turn.timeline.add(Token("x"), at)
    info = status_info("demo", "ready", turn, running=True, status=waiting, elapsed_ms=1300)
    assert info.state == "generating 200 tok/s"


@pytest.mark.parametrize(
    ("outcome", "content", "hint"),
    [
        ("truncated", "text", ("Ctrl+G", "continue")),
        ("cancelled", "text", ("Ctrl+G", "continue")),
        ("cancelled", "", ("Ctrl+R", "retry")),
        ("failed", "text", ("Ctrl+R", "retry")),
        ("complete", "text", ("F1", "help")),
    ],
)
def test_the_first_hint_is_what_the_last_answer_makes_useful(outcome: str, content: str, hint: tuple[str, str]) -> None:
    info = status_info("demo", "ready", answer(outcome, content), running=False, status=None, elapsed_ms=0)
    assert info.hints[0] == hint


def test_the_line_says_what_is_known_of_the_backend() -> None:
    about = {"running": False, "status": None, "elapsed_ms": 0.0}
    said = status_info("box", "unreachable", None, problem="cannot reach http://box:1: nobody listens", **about)  # type: ignore[arg-type]
    assert (said.state, said.tone) == ("cannot reach http://box:1: nobody listens", "bad")
    said = status_info("demo", "loading", None, loading=Status("loading", done=420, total=1000), **about)  # type: ignore[arg-type]
    assert said.state == "loading the model 42 %"
    assert status_info("box", "warming", None, **about).state == "connecting"  # type: ignore[arg-type]


@pytest.mark.parametrize("siblings", [("1",), ("1", "2")])
def test_all_that_letters_do_is_told_in_80_columns(siblings: tuple[str, ...]) -> None:
    turn = answer("complete", "text")
    turn.siblings = siblings
    info = status_info("demo", "ready", turn, running=False, status=None, elapsed_ms=0, reading=True)
    line = status_text(info, 78).plain
    assert line.rstrip().endswith("y copy")
    assert ("< > version" in line) is (len(siblings) > 1)


@pytest.mark.parametrize(
    ("width", "height", "mode", "side", "strip"),
    [
        (200, 60, "full", "panel", "off"),
        (100, 24, "full", "panel", "off"),
        (99, 24, "full", "off", "strip"),
        (80, 24, "line", "off", "numbers"),
        (200, 60, "line", "off", "numbers"),
        (200, 60, "off", "off", "off"),
        (40, 10, "full", "off", "off"),
        (20, 10, "full", "off", "off"),
    ],
)
def test_the_panel_takes_the_shape_that_fits(width: int, height: int, mode: str, side: str, strip: str) -> None:
    layout = lay_out(width, height, mode)  # type: ignore[arg-type]
    assert (layout.side, layout.strip) == (side, strip)


def test_a_window_that_is_too_small_is_told_apart() -> None:
    assert lay_out(23, 10, "full").size_class == "-too-small"
    assert lay_out(40, 5, "full").size_class == "-too-small"
    assert lay_out(40, 10, "full").size_class == "-tight"


def test_the_modes_go_round() -> None:
    assert [next_mode("full"), next_mode("line"), next_mode("off")] == ["line", "off", "full"]
