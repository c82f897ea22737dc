"""A file that an earlier version wrote is opened, keeps all that it held, and can be written."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec

from backends.config import Budget
from backends.events import Meta, Token
from backends.telemetry.timeline import Timeline
from backends.telemetry.turns import TurnNumbers
from tui.history import turn_table
from tui.history.history import History
from tui.history.history_file import MIGRATIONS

VERSION_1 = """
CREATE TABLE conversation (
    id TEXT PRIMARY KEY,
    title TEXT NOT NULL DEFAULT '',
    backend TEXT NOT NULL,
    created REAL NOT NULL,
    updated REAL NOT NULL
);
CREATE TABLE message (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    conversation TEXT NOT NULL REFERENCES conversation (id) ON DELETE CASCADE,
    parent INTEGER REFERENCES message (id) ON DELETE CASCADE,
    role TEXT NOT NULL,
    outcome TEXT NOT NULL,
    created REAL NOT NULL,
    backend TEXT NOT NULL,
    model TEXT NOT NULL,
    sources BLOB NOT NULL,
    citations BLOB NOT NULL,
    content TEXT NOT NULL,
    timeline BLOB
);
CREATE INDEX message_by_conversation ON message (conversation, id);
CREATE INDEX message_by_parent ON message (parent);
CREATE INDEX conversation_by_updated ON conversation (updated);
INSERT INTO conversation VALUES ('c0ffee', 'Can I pause?', 'demo', 1700000000, 1700000001);
INSERT INTO message VALUES
    (1, 'c0ffee', NULL, 'user', 'complete', 1700000000, 'demo', '', x'5b5d', x'5b5d', 'Can I pause?', NULL),
    (2, 'c0ffee', 1, 'assistant', 'complete', 1700000001, 'demo', 'tiny', x'5b5d', x'5b5d', 'No.', NULL),
    (3, 'c0ffee', 1, 'assistant', 'complete', 1700000002, 'demo', 'tiny', x'5b5d', x'5b5d', 'Yes.', NULL);
PRAGMA user_version = 1;
"""


def test_a_file_of_the_first_version(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    old = sqlite3.connect(path)
    old.executescript(VERSION_1)
    old.close()

    history = History(path)
    assert (history.notice, history.saved) == ("", True)
    assert [c.title for c in history.conversations()] == ["Can I pause?"]
    assert [(m.content, m.reasoning) for m in history.thread("c0ffee")] == [("Can I pause?", ""), ("Yes.", "")]
    history.choose("c0ffee", "2")
    history.add_message("c0ffee", "2", "user", "Why?")
    history.update_message("2", reasoning="Hm.")
    history.close()

    again = History(path)
    assert [(m.content, m.reasoning) for m in again.thread("c0ffee")] == [
        ("Can I pause?", ""),
        ("No.", "Hm."),
        ("Why?", ""),
    ]
    again.close()


def test_turns_that_were_rows_alone_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    given = TurnNumbers(started=1_700_000_000.0, backend="box", ttft=20.0, total=60.0, tokens=5, cost=0.25)
    with closing(sqlite3.connect(path)) as old, old:
        for step in (step for steps in MIGRATIONS[:4] for step in steps):
            old.execute(step) if isinstance(step, str) else step(old)
        old.execute("PRAGMA user_version = 4")
        for numbers in (given, msgspec.structs.replace(given, outcome="cancelled", total=50.0, cost=None)):
            turn_table._insert_row(old, None, numbers, b"")
    with closing(History(path)) as history:
        history.add_turn(None, msgspec.structs.replace(given, ttft=90.0), b"")
        found = history.read(lambda connection: turn_table.cells(connection, lambda feature: Budget(50, 100)))
    (cell,) = found
    assert (cell.turns, cell.cancelled, cell.good, cell.tokens, cell.cost) == (3, 1, 1, 15, 0.5)
    assert (cell.values["ttft"], cell.values["total"]) == ([20.0, 20.0, 90.0], [60.0, 60.0])


def test_timelines_kept_with_their_answers_become_turns(tmp_path: Path) -> None:
    timeline = Timeline()
    timeline.add(Meta("tiny", prompt_tokens=7), 10.0)
    timeline.add(Token("No."), 20.0)
    timeline.end("complete", 30.0)
    path = tmp_path / "history.sqlite"
    old = sqlite3.connect(path)
    old.executescript(VERSION_1)
    old.execute("UPDATE message SET timeline = ? WHERE id = 2", (timeline.dump(),))
    old.execute("UPDATE message SET timeline = x'ffff' WHERE id = 3")
    old.commit()
    old.close()

    history = History(path)
    ((turn, _),) = history.read(lambda connection: turn_table.since(connection, 0.0))
    assert (turn.started, turn.backend, turn.model, turn.ttft, turn.total) == (1700000001, "demo", "tiny", 20.0, 30.0)
    assert turn.prompt_tokens == 7
    history.choose("c0ffee", "2")
    assert history.thread("c0ffee")[-1].timeline == timeline.dump()
    history.close()
