"""The turns in the history's file."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from backends.config import Budget
from backends.events import Meta, Token
from backends.telemetry.statistics import summed
from backends.telemetry.timeline import Asked, Timeline
from backends.telemetry.turns import TurnNumbers
from tui.history import turn_table
from tui.history.history import History

NOW = time.time()


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    store = History(tmp_path / "history.sqlite")
    yield store
    store.close()


def turn(**more: object) -> TurnNumbers:
    fields: dict[str, object] = {"started": NOW, "backend": "box", "model": "m", "ttft": 100.0, "total": 900.0} | more
    return TurnNumbers(**fields)  # type: ignore[arg-type]


def stored(history: History, *turns: TurnNumbers) -> list[int]:
    return [history.add_turn(None, one, b"") for one in turns]


def budget(feature: str) -> Budget:
    return Budget(200, 1_000) if feature == "chat" else Budget(50, 1_000)


def test_an_answers_timeline_is_a_turn_of_its_conversation(history: History) -> None:
    conversation = history.create_conversation("box")
    question = history.add_message(conversation, None, "user", "q")
    answer = history.add_message(conversation, question, "assistant", "")
    timeline = Timeline(asked=Asked("box"))
    timeline.add(Meta("m", prompt_tokens=9, cached_tokens=4), 1.0)
    timeline.add(Token("a"), 20.0)
    timeline.end("complete", 60.0)

    history.record(answer, timeline)

    number = history.read(lambda connection: turn_table.of_message(connection, answer))
    found = history.read(lambda connection: turn_table.find(connection, number))
    assert found is not None
    numbers, data = found
    assert (numbers.backend, numbers.model, numbers.ttft, numbers.total) == ("box", "m", 20.0, 60.0)
    assert (numbers.prompt_tokens, numbers.cached_tokens) == (9, 4)
    assert numbers.started == pytest.approx(time.time(), abs=60)
    assert data == timeline.dump() == history.thread(conversation)[-1].timeline
    assert history.read(lambda connection: turn_table.find(connection, None)) == found


def test_what_turns_add_up_to(history: History) -> None:
    stored(
        history,
        turn(),
        turn(outcome="cancelled", total=50.0, tokens=7),
        turn(outcome="failed", ttft=None, total=3.0, error="CONNECT"),
        turn(feature="completion", prompt_tokens=100, cached_tokens=40),
        turn(prompt_tokens=100),  # does not tell what was cached
        turn(backend="other", started=NOW - 400_000, cost=0.25),
    )
    cells = history.read(lambda connection: turn_table.cells(connection, budget))
    everything = summed("all", cells)
    assert (everything.turns, everything.tokens, everything.cost) == (6, 7, 0.25)
    assert everything.cached_share == 0.4
    assert everything.goodput == pytest.approx(3 / 5)  # the completion's budget is tighter
    assert everything.ttft is not None
    assert everything.total is not None
    assert (everything.ttft.count, everything.total.count) == (5, 4)

    late = history.read(lambda connection: turn_table.cells(connection, budget, NOW - 1_000))
    assert summed("all", late).turns == 5
    history.add_turn(None, turn(started=NOW - 500, ttft=1.0, outcome="interrupted"), b"")
    (newest,) = history.read(lambda connection: turn_table.cells(connection, budget, NOW - 100, {"feature": "chat"}))
    assert (newest.turns, newest.failed) == (4, 1)
    other = history.read(lambda connection: turn_table.cells(connection, budget, 0.0, {"backend": "other"}))
    assert [cell.backend for cell in other] == ["other"]


def test_the_slowest_come_first(history: History) -> None:
    stored(history, turn(ttft=5.0), turn(ttft=50.0), turn(ttft=None), turn(ttft=20.0, model="n"))
    found = history.read(lambda connection: turn_table.slowest(connection, 2))
    assert [one.ttft for one, _ in found] == [50.0, 20.0]
    only = history.read(lambda connection: turn_table.slowest(connection, 2, 0.0, {"model": "n"}))
    assert [one.ttft for one, _ in only] == [20.0]


def test_the_turn_before_is_of_the_same_conversation_and_backend(history: History) -> None:
    one, two = history.create_conversation("box"), history.create_conversation("box")
    answers = [history.add_message(conversation, None, "assistant", "a") for conversation in (one, two, one)]
    first, _, third = (history.add_turn(answer, turn(), b"") for answer in answers)
    history.add_turn(answers[0], turn(backend="other"), b"")
    alone = stored(history, turn(), turn())

    def before(number: int) -> int | None:
        found = history.read(lambda connection: turn_table.before(connection, number))
        return found[0].id if found else None

    assert before(third) == first
    assert before(first) is None
    assert before(alone[1]) == alone[0]
    assert before(alone[0]) is None
