"""The file under the store: privacy, several processes, a killed one, damage, a full or read-only disk."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tui.history.history_file
from tui.history.history import History, default_path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deeper" / "data" / "history.sqlite"


def turn(history: History, text: str = "q", answer: str = "a") -> tuple[str, str]:
    """Conversation and answer id of a finished turn."""
    conversation = history.create_conversation("demo")
    question = history.add_message(conversation, None, "user", text)
    reply = history.add_message(conversation, question, "assistant", answer)
    history.update_message(reply, outcome="complete")
    return conversation, reply


def texts(history: History, conversation: str) -> list[str]:
    return [message.content for message in history.thread(conversation)]


def test_nobody_else_may_read_it(path: Path) -> None:
    history = History(path)
    turn(history)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == {"history.sqlite": 0o600, "history.sqlite-wal": 0o600, "history.sqlite-shm": 0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    history.close()


def test_it_lies_in_the_platforms_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_path().is_relative_to(tmp_path)
    assert default_path().parent.name == "llmchat"


def test_it_is_there_the_next_time(path: Path) -> None:
    history = History(path)
    assert history.saved
    conversation, _ = turn(history, "hello", "world")
    history.close()
    history.close()
    again = History(path)
    assert again.latest_conversation() == conversation
    assert texts(again, conversation) == ["hello", "world"]
    assert again.notice == ""
    again.close()


def test_two_at_once(path: Path) -> None:
    one, two = History(path), History(path)
    first, reply = turn(one, "from one")
    second, _ = turn(two, "from two")
    assert {c.id for c in one.conversations(10)} == {c.id for c in two.conversations(10)} == {first, second}
    one.update_message(reply, content="changed")
    assert texts(two, first) == ["from one", "changed"]
    one.close()
    two.close()


WRITER = """
import sys
from pathlib import Path
from tui.history.history import History
history = History(Path(sys.argv[1]))
assert not history.notice, history.notice
for number in range(20):
    conversation = history.create_conversation(sys.argv[2])
    question = history.add_message(conversation, None, "user", f"{sys.argv[2]} {number}")
    history.update_message(history.add_message(conversation, question, "assistant", ""), content="x" * 5000)
assert history.saved, history.notice
history.close()
"""


def test_many_processes_start_and_write_at_once(path: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, path, f"w{n}"]) for n in range(4)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0, 0]
    history = History(path)
    assert len(history.conversations(1000)) == 80
    assert len(history.prompts(1000)) == 80
    history.close()


STREAMER = """
import sys
from pathlib import Path
from tui.history.history import History
history = History(Path(sys.argv[1]))
conversation = history.create_conversation("demo")
question = history.add_message(conversation, None, "user", "q")
answer = history.add_message(conversation, question, "assistant", "")
for number in range(1, 10**9):
    history.update_message(answer, content="word " * number)
    print(number, flush=True)
"""


def test_kill_9_keeps_every_update_that_returned(path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", STREAMER, path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = 0
        while told < 50:
            told = int(process.stdout.readline())
        os.kill(process.pid, signal.SIGKILL)
        rest = process.stdout.read().split()
        told = int(rest[-1]) if rest else told
    history = History(path)
    conversation = history.latest_conversation()
    assert conversation is not None
    answer = history.thread(conversation)[-1]
    assert answer.content.count("word ") >= told
    assert answer.outcome == "interrupted"
    assert history.notice == ""
    history.close()


@pytest.mark.parametrize("damage", [b"this is no database at all, " * 100, b"\x00" * 5000])
def test_a_damaged_file_is_moved_aside_and_kept(path: Path, damage: bytes) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(damage)
    history = History(path)
    assert "damaged" in history.notice
    assert str(path) in history.notice
    assert history.saved
    conversation, _ = turn(history)
    history.close()
    kept = [file for file in path.parent.iterdir() if ".damaged-" in file.name and file.read_bytes() == damage]
    assert len(kept) == 1
    assert kept[0].name in history.notice
    again = History(path)
    assert again.notice == ""
    assert again.latest_conversation() == conversation
    again.close()


def test_damage_found_later_does_not_end_the_chat(path: Path) -> None:
    history = History(path)
    for number in range(30):
        turn(history, f"question {number}", "long " * 2000)
    history.close()
    with contextlib.closing(sqlite3.connect(path)) as intact:
        roots = [page for (page,) in intact.execute("SELECT rootpage FROM sqlite_master WHERE rootpage > 0")]
        size = intact.execute("PRAGMA page_size").fetchone()[0]
    content = bytearray(path.read_bytes())
    for page in roots:  # the schema stays readable
        content[(page - 1) * size : page * size] = os.urandom(size)
    path.write_bytes(content)

    history = History(path)
    conversation, reply = turn(history, "asked", "answered")
    history.add_message(conversation, reply, "user", "and on")

    assert texts(history, conversation) == ["asked", "answered", "and on"]
    assert not history.saved
    assert "damaged" in history.notice
    assert any(".damaged-" in file.name for file in path.parent.iterdir())
    assert not path.exists()
    history.close()


def test_damage_found_in_mid_conversation(path: Path) -> None:
    history = History(path)
    conversation, reply = turn(history)
    for number in range(30):
        turn(history, f"question {number}", "long " * 2000)
    history.close()
    history = History(path)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 4096))

    question = history.add_message(conversation, reply, "user", "more")
    answer = history.add_message(conversation, question, "assistant", "")
    history.update_message(answer, content="still here", outcome="complete")

    assert texts(history, conversation) == ["more", "still here"]
    assert int(question) > int(reply)
    assert "damaged" in history.notice
    history.close()


def test_a_newer_versions_file_is_left_alone(path: Path) -> None:
    History(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = path.read_bytes()
    history = History(path)
    assert "newer version" in history.notice
    assert not history.saved
    turn(history)
    history.close()
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["folder", "file/history.sqlite"])
def test_a_path_that_cannot_be(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    history = History(tmp_path / name)
    assert "not saved" in history.notice
    assert str(tmp_path / name) in history.notice
    assert not history.saved
    conversation, _ = turn(history, "still", "works")
    assert texts(history, conversation) == ["still", "works"]
    history.close()


@pytest.fixture
def small_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[History]:
    """A store on a file that SQLite refuses to let grow: SQLITE_FULL, as from a full disk."""
    history = History(path)
    pages = history._connection.execute("PRAGMA page_count").fetchone()[0]
    history._connection.execute(f"PRAGMA max_page_count = {pages + 4}")
    yield history
    history.close()


def test_a_full_disk_lets_the_chat_go_on(path: Path, small_disk: History) -> None:
    conversation, reply = turn(small_disk, "before", "short")
    small_disk.update_message(reply, content="long " * 20_000)
    question = small_disk.add_message(conversation, reply, "user", "after")

    assert "the disk is full" in small_disk.notice
    assert not small_disk.saved
    assert [m.id for m in small_disk.thread(conversation)][-1] == question
    assert texts(small_disk, conversation) == ["before", "long " * 20_000, "after"]

    with sqlite3.connect(path) as connection:
        kept = [row[0] for row in connection.execute("SELECT content FROM message ORDER BY id")]
    connection.close()
    assert kept == ["before", "short"]


def test_a_file_that_turns_read_only(path: Path) -> None:
    history = History(path)
    conversation, reply = turn(history, "before", "saved")
    history._connection.execute("PRAGMA query_only = ON")  # what a read-only remount does; root ignores file modes
    history.update_message(reply, content="not saved")
    assert "read-only" in history.notice
    assert texts(history, conversation) == ["before", "not saved"]
    history.close()


def test_another_programs_lock(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tui.history.history_file, "BUSY_SECONDS", 0.05)
    history = History(path)
    conversation, reply = turn(history)
    blocker = sqlite3.connect(path)
    blocker.execute("BEGIN IMMEDIATE")
    history.update_message(reply, content="waited in vain")
    assert "locked" in history.notice
    assert texts(history, conversation) == ["q", "waited in vain"]
    blocker.close()
    history.close()


def test_an_answer_of_50_kb_is_written_quickly(path: Path) -> None:
    """The bound is 2 ms; the fastest of many, so that a loaded machine does not matter."""
    import time

    history = History(path)
    _, reply = turn(history)
    durations = []
    for number in range(100):
        start = time.perf_counter()
        history.update_message(reply, content="x" * 50_000 + str(number))
        durations.append(time.perf_counter() - start)
    history.close()
    assert min(durations) < 0.002
