"""The conversations in the history's file: listed, searched, renamed, deleted."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from backends.telemetry.turns import TurnNumbers
from tui.history import conversation_table, turn_table
from tui.history.conversation_table import Listed
from tui.history.history import History


@pytest.fixture(params=["file", "memory"])
def history(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[History]:
    store = History(tmp_path / "history.sqlite" if request.param == "file" else None)
    yield store
    store.close()


def said(history: History, question: str, answer: str) -> tuple[str, str]:
    """The ids of a conversation and of its answer."""
    conversation = history.create_conversation("demo")
    asked = history.add_message(conversation, None, "user", question)
    reply = history.add_message(conversation, asked, "assistant", "")
    history.update_message(reply, content=answer, outcome="running")
    history.update_message(reply, content=answer, outcome="complete")
    return conversation, reply


def listed(history: History, words: str = "") -> list[Listed]:
    return history.read(lambda connection: conversation_table.listed(connection, words))


def titles(history: History, words: str) -> list[str]:
    return [one.title for one in listed(history, words)]


def test_the_newest_come_first(history: History) -> None:
    said(history, "Can I pause?", "Yes, once.")
    said(history, "What does it cost?", "Nine dollars.")
    assert [(one.title, one.questions, one.backend) for one in listed(history)] == [
        ("What does it cost?", 1, "demo"),
        ("Can I pause?", 1, "demo"),
    ]


def test_all_words_are_searched_in_questions_and_answers(history: History) -> None:
    said(history, "Can I pause?", "Yes, an annual plan can be paused.")
    said(history, "What does it cost?", "Nine dollars a month; 50% off for students.")
    assert titles(history, "annual paus") == ["Can I pause?"]  # beginnings of words
    assert titles(history, "cost") == ["What does it cost?"]
    assert titles(history, "annual dollars") == []
    assert titles(history, '"quoted" OR (') == []  # nobody can write a query
    assert "annual plan" in listed(history, "annual")[0].excerpt


def test_an_answer_is_found_once_it_has_ended_and_as_it_ended(history: History) -> None:
    conversation, reply = said(history, "Q", "the first words")
    history.update_message(reply, content="the first words and more", outcome="running")
    history.update_message(reply, content="the first words and zebras", outcome="truncated")
    assert [one.id for one in listed(history, "zebras")] == [conversation]
    assert titles(history, "more") == []


def test_a_title_can_be_changed_and_is_searched(history: History) -> None:
    conversation, _ = said(history, "Q", "A")
    history.rename_conversation(conversation, "Taxes 2026")
    assert titles(history, "taxes 20") == ["Taxes 2026"]
    assert history.conversations()[0].title == "Taxes 2026"


def test_what_is_deleted_is_gone_but_for_its_numbers(history: History) -> None:
    conversation, reply = said(history, "secret question", "secret answer")
    kept, _ = said(history, "other", "words")
    number = history.add_turn(reply, TurnNumbers(started=1.0, ttft=7.0), b"timeline")
    history.delete_conversation(conversation)

    assert [one.id for one in listed(history)] == [kept]
    assert titles(history, "secret") == []
    assert history.thread(conversation) == []
    found = history.read(lambda connection: turn_table.find(connection, number))
    assert found is not None
    assert (found[0].ttft, found[1]) == (7.0, None)


def test_without_an_index_words_are_searched_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    history = History(path)
    said(history, "Can I pause?", "Yes, an annual plan can be paused.")
    history.close()
    bare = sqlite3.connect(path)
    bare.executescript(
        "DROP TRIGGER search_question; DROP TRIGGER search_answer; DROP TRIGGER search_deleted;"
        "DROP TABLE message_search"
    )
    bare.close()
    again = History(path)
    assert titles(again, "annual plan") == ["Can I pause?"]
    assert titles(again, "100%") == []
    again.close()


def test_what_an_earlier_version_kept_is_searched(tmp_path: Path) -> None:
    from tests.tui.history.test_migration import VERSION_1

    path = tmp_path / "history.sqlite"
    old = sqlite3.connect(path)
    old.executescript(VERSION_1)
    old.close()
    history = History(path)
    assert titles(history, "yes") == ["Can I pause?"]
    history.close()
