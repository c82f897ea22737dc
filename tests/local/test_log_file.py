"""The child's log: private, bounded, and its last words printable."""

from __future__ import annotations

import os
from pathlib import Path

from backends.local import log_file
from backends.local.log_file import LogFile


def write(log: LogFile, text: str) -> None:
    with os.fdopen(log.open(), "w") as file:
        file.write(text)


def test_it_is_private_and_appended_to(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "logs", "k")
    write(log, "one\n")
    write(log, "two\n")
    assert log.path.read_text() == "one\ntwo\n"
    assert log.path.stat().st_mode & 0o777 == 0o600
    assert log.path.parent.stat().st_mode & 0o777 == 0o700


def test_where_the_folder_cannot_be_had_it_is_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "blocked").write_text("")
    log = LogFile(tmp_path / "blocked" / "logs", "k", tmp_path)
    write(log, "one\n")
    assert log.path == tmp_path / "engine-k.log"
    assert log.last_line() == "one"


def test_the_last_line_with_text(tmp_path: Path) -> None:
    log = LogFile(tmp_path, "k")
    assert log.last_line() == ""
    write(log, "first\n  GGML_ASSERT(a == b) \x1b[31mfailed\x07  \n\n  \n")
    assert log.last_line() == "GGML_ASSERT(a == b) [31mfailed"
    assert log.last_line(len("first\n")) == "GGML_ASSERT(a == b) [31mfailed"


def test_routine_is_not_quoted(tmp_path: Path) -> None:
    log = LogFile(tmp_path, "k")
    write(log, "GGML_ASSERT(x) failed\n2026-11-22 10:36:51,047 INFO __main__: demo is ready\n")
    assert log.last_line() == "GGML_ASSERT(x) failed"
    write(log, "2026-11-22 10:36:51,047 ERROR __main__: no\n")
    assert log.last_line().endswith("ERROR __main__: no")


def test_words_of_an_earlier_child_are_not_quoted(tmp_path: Path) -> None:
    log = LogFile(tmp_path, "k")
    write(log, "old\n")
    assert log.last_line(len("old\n")) == ""


def test_a_long_line_is_cut_and_a_long_log_read_from_its_end(tmp_path: Path) -> None:
    log = LogFile(tmp_path, "k")
    write(log, "x\n" * 100_000 + "y" * 1_000)
    assert log.last_line() == "y" * 300


def test_a_large_log_is_set_aside(tmp_path: Path) -> None:
    log = LogFile(tmp_path, "k")
    write(log, "x" * (log_file.LIMIT + 1))
    write(log, "new\n")
    assert log.path.read_text() == "new\n"
    write(log, "x" * (log_file.LIMIT + 1))
    write(log, "newest\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["engine-k.log", "engine-k.log.old"]


def test_old_logs_go(tmp_path: Path) -> None:
    for number in range(log_file.KEPT + 3):
        log = LogFile(tmp_path, f"{number:02}")
        write(log, "x")
        os.utime(log.path, (number, number))
    write(LogFile(tmp_path, "last"), "x")
    names = sorted(path.name for path in tmp_path.glob("engine-*"))
    assert len(names) == log_file.KEPT
    assert names[-1] == "engine-last.log"
    assert "engine-00.log" not in names
