"""The index on real SQLite: step by step, safe, rebuilt where it is damaged."""

from __future__ import annotations

import errno
import logging
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from backends.errors import BackendError
from backends.rag import load, sqlite_store
from backends.rag.index import Changes, Index
from backends.rag.words import key


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "index.sqlite3"


@pytest.fixture
def index(folder: Path, path: Path) -> Iterator[Index]:
    index = Index([folder], path)
    yield index
    index.close()


def titles(index: Index, *words: str) -> list[str]:
    return [hit.title for hit in index.search([key(word.casefold()) for word in words], 10)]


def rewrite(path: Path, text: str, seconds_ago: int = 100) -> None:
    """Write a file whose time is settled, `seconds_ago` in the past."""
    path.write_text(text)
    moment = path.stat().st_mtime_ns - seconds_ago * 10**9
    os.utime(path, ns=(moment, moment))


def test_it_finds_forms_of_a_word_best_first(index: Index) -> None:
    assert index.refresh() == Changes(added=3)
    assert titles(index, "pausing", "subscriptions") == ["Plans > Pausing a subscription"]
    (hit,) = index.search([key("refunded")], 10)
    assert (hit.source, hit.title, hit.locator) == ("refunds.md", "Refunds > How long it takes", "How long it takes")
    assert hit.bm25 > 0
    assert len(index.search([key("plan"), key("refund")], 1)) == 1
    assert index.search([], 10) == []
    assert index.frequencies(["refund", "plan", "zebra"]) == (4, [1, 2, 0])


def test_only_what_has_changed_is_read_again(index: Index, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for file in folder.iterdir():
        rewrite(file, file.read_text())
    read: list[str] = []
    real = load.read
    monkeypatch.setattr(load, "read", lambda file: (read.append(file.name), real(file))[1])
    assert index.refresh() == Changes(added=3)
    read.clear()
    assert index.refresh() == Changes()
    assert read == []
    rewrite(folder / "refunds.md", "# Refunds\n\nNow in seven days.", seconds_ago=50)
    (folder / "notes.txt").unlink()
    (folder / "tax.md").write_text("# Tax\n\nVAT numbers go into the profile.")
    assert index.refresh() == Changes(added=1, changed=1, removed=1)
    assert sorted(read) == ["refunds.md", "tax.md"]
    assert titles(index, "seven") == ["Refunds"]
    assert titles(index, "invoices", "card") == []
    assert titles(index, "VAT") == ["Tax"]


def test_a_touched_file_is_read_but_not_written_again(index: Index, folder: Path) -> None:
    index.refresh()
    rewrite(folder / "plans.md", (folder / "plans.md").read_text())
    assert index.refresh() == Changes()


def test_a_change_within_one_tick_of_the_clock_is_seen(index: Index, folder: Path) -> None:
    file = folder / "refunds.md"
    file.write_text("# Refunds\n\nWithin 14 days.")
    times = file.stat()
    index.refresh()
    file.write_text("# Refunds\n\nWithin 30 days.")
    os.utime(file, ns=(times.st_mtime_ns, times.st_mtime_ns))
    assert index.refresh() == Changes(changed=1)
    assert titles(index, "30") == ["Refunds"]


def test_it_is_kept_in_a_private_file(index: Index, folder: Path, path: Path) -> None:
    index.refresh()
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}
    index.close()
    again = Index([folder], path)
    assert titles(again, "refunds") == ["Refunds > How long it takes"]
    again.close()


def test_it_can_live_in_memory(folder: Path) -> None:
    index = Index([folder])
    index.refresh()
    assert titles(index, "seats") == ["Plans > Team plans"]
    index.close()


@pytest.mark.parametrize("damage", ["garbage", "truncated", "overwritten"])
def test_a_damaged_file_is_built_again(folder: Path, path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    for i in range(200):
        (folder / f"{i}.md").write_text(f"# Number {i}\n\nAbout refunds number {i} and nothing else.")
    index = Index([folder], path)
    index.refresh()
    index.close()
    data = path.read_bytes()
    broken = {
        "garbage": b"this is no database at all",
        "truncated": data[: len(data) // 2],
        "overwritten": data[:4096] + os.urandom(len(data) - 4096),
    }
    path.write_bytes(broken[damage])
    index = Index([folder], path)
    assert "Number 77" in titles(index, "77")
    assert index.refresh() == Changes()
    assert "building it again" in caplog.text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    index.close()


def test_damage_while_it_is_open_is_repaired(index: Index, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    index.refresh()
    other = sqlite3.connect(path)
    other.execute("DELETE FROM search_data WHERE id = 10")  # the record that says what the FTS index consists of
    other.commit()
    other.close()
    assert titles(index, "seats") == ["Plans > Team plans"]
    assert "building it again" in caplog.text


def test_an_older_version_is_built_again(folder: Path, path: Path) -> None:
    path.parent.mkdir()
    old = Index([folder], path)
    old.refresh()
    old.close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 0")
    db.close()
    index = Index([folder], path)
    assert index.refresh() == Changes(added=3)
    index.close()


def test_somebody_elses_database_is_left_alone(folder: Path, path: Path) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE precious (x)")
    db.close()
    before = path.read_bytes()
    index = Index([folder], path)
    with pytest.raises(BackendError, match="somebody else's"):
        index.refresh()
    index.close()
    assert path.read_bytes() == before


def test_a_crash_in_the_middle_leaves_whole_documents(
    index: Index, folder: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.refresh()
    for name in ("plans.md", "refunds.md"):
        rewrite(folder / name, "# New\n\nSomething entirely different.")
    real = load.read

    def crash(file: load.File) -> bytes:
        if file.name == "refunds.md":
            raise MemoryError
        return real(file)

    monkeypatch.setattr(load, "read", crash)
    with pytest.raises(MemoryError):
        index.refresh()
    assert titles(index, "seats") == []
    assert titles(index, "different") == ["New"]
    assert titles(index, "card") == ["Refunds > How long it takes"]
    monkeypatch.undo()
    assert index.refresh() == Changes(changed=1)
    assert titles(index, "different") == ["New", "New"]


_KILLED = """
import os, signal, sys
from pathlib import Path
from backends.rag import index, sqlite_store

real, count = sqlite_store.forms, 0

def forms(passages):
    global count
    count += 1
    if count == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)  # passages are written, the transaction is open
    return real(passages)

sqlite_store.forms = forms
index.Index([Path(sys.argv[1])], Path(sys.argv[2])).refresh()
"""


def test_a_process_killed_while_it_writes_leaves_whole_documents(folder: Path, path: Path) -> None:
    index = Index([folder], path)
    index.refresh()
    index.close()
    for name in ("plans.md", "refunds.md", "notes.txt"):
        rewrite(folder / name, "Something entirely different.\n\n" * 50)
    for kill_at, new in ((1, set()), (2, {"notes.txt"}), (99, {"notes.txt", "plans.md", "refunds.md"})):
        command = [sys.executable, "-c", _KILLED, str(folder), str(path), str(kill_at)]
        assert subprocess.run(command, check=False).returncode == (0 if kill_at == 99 else -signal.SIGKILL)
        index = Index([folder], path)
        assert {hit.source for hit in index.search([key("different")], 50)} == new
        assert titles(index, "seats") == ([] if "plans.md" in new else ["Plans > Team plans"])
        index.close()
    index = Index([folder], path)
    assert index.refresh() == Changes()
    index.close()


def test_an_unreadable_file_is_told_and_not_tried_again(
    index: Index, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "bad.md").write_bytes(b"\xff\xfe\xfd")
    rewrite_time = (folder / "bad.md").stat().st_mtime_ns - 100 * 10**9
    os.utime(folder / "bad.md", ns=(rewrite_time, rewrite_time))
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            (failure,) = index.refresh().failures
            assert failure.name == "bad.md"
            assert "UTF-8" in failure.reason
    assert caplog.text.count("bad.md") == 1
    assert titles(index, "seats")
    rewrite(folder / "bad.md", "It is about zebras now.", seconds_ago=50)
    assert index.refresh() == Changes(changed=1)
    assert titles(index, "zebras") == ["Bad"]


def test_two_indexes_share_one_file(folder: Path, path: Path) -> None:
    one, other = Index([folder], path), Index([folder], path)
    assert one.refresh() == Changes(added=3)
    assert other.refresh() == Changes()
    (folder / "tax.md").write_text("# Tax\n\nVAT is added.")
    assert other.refresh() == Changes(added=1)
    assert titles(one, "VAT") == ["Tax"]
    one.close()
    other.close()


def test_many_threads_may_ask_at_once(index: Index) -> None:
    wrong: list[object] = []

    def ask() -> None:
        try:
            index.refresh()
            for _ in range(20):
                if titles(index, "seats") != ["Plans > Team plans"]:
                    wrong.append("not found")
        except BackendError as error:
            wrong.append(error)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_misspelled_and_begun_words_are_recognised(index: Index) -> None:
    index.refresh()
    assert index.similar("subscripton") == ["subscription"]
    assert index.similar("refudns") == ["refunds"]
    assert index.similar("invo") == ["invoices"]
    assert index.similar("freze", ["freeze"]) == ["freeze"]
    assert index.similar("zebra") == []


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    index = Index([tmp_path / "nowhere"])
    with pytest.raises(BackendError, match="nowhere does not exist") as raised:
        index.refresh()
    assert raised.value.code == "NOT_FOUND"
    index.close()


def test_a_file_that_cannot_be_made_is_told(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "blocked").write_text("")
    index = Index([folder], tmp_path / "blocked" / "index.sqlite3")
    with pytest.raises(BackendError, match=r"blocked.*cannot be used"):
        index.refresh()
    index.close()


def test_on_a_read_only_disk_it_is_in_memory(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(*_: object) -> int:
        raise OSError(errno.EROFS, "Read-only file system")

    index = Index([folder], tmp_path / "index.sqlite3")
    with monkeypatch.context() as disk:
        disk.setattr(os, "open", read_only)
        assert index.refresh().added
    assert not (tmp_path / "index.sqlite3").exists()
    index.close()


@pytest.mark.parametrize("pages", [4, 60])
def test_on_a_full_disk_it_is_in_memory(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pages: int, caplog: pytest.LogCaptureFixture
) -> None:
    def small_disk(path: Path | None) -> sqlite3.Connection:
        database = connect(path)
        if path is not None:  # what SQLite says then is what it says of a full disk
            database.execute(f"PRAGMA max_page_count = {pages}")
        return database

    connect = sqlite_store._connect
    monkeypatch.setattr(sqlite_store, "_connect", small_disk)
    (folder / "large.md").write_text("# Large\n\n" + "A sentence about invoices. " * 20_000)
    index = Index([folder], tmp_path / "index.sqlite3")
    assert index.refresh().added > 1
    assert titles(index, "invoices")
    assert "in memory" in caplog.text
    index.close()


def test_after_closing_nothing_is_opened_again(index: Index) -> None:
    index.refresh()
    index.close()
    with pytest.raises(BackendError) as raised:
        index.search(["seats"], 1)
    assert raised.value.code == "SHUTDOWN"
