"""The SQLite file under the history: its schema and migrations, opening it, and what to do when it is damaged."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from tui.history import conversation_table, turn_table

BUSY_SECONDS = 2.0  # how long a write waits for another llmchat's; a write takes about a millisecond

Step = str | Callable[[sqlite3.Connection], None]

# One entry per schema version, each a list of steps; `PRAGMA user_version` counts those that were applied.
MIGRATIONS: tuple[tuple[Step, ...], ...] = (
    (
        """CREATE TABLE conversation (
            id TEXT PRIMARY KEY,
            title TEXT NOT NULL DEFAULT '',
            backend TEXT NOT NULL,
            created REAL NOT NULL,
            updated REAL NOT NULL
        )""",
        """CREATE TABLE message (
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
        )""",
        "CREATE INDEX message_by_conversation ON message (conversation, id)",
        "CREATE INDEX message_by_parent ON message (parent)",
        "CREATE INDEX conversation_by_updated ON conversation (updated)",
    ),
    (
        "ALTER TABLE message ADD COLUMN reasoning TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE conversation ADD COLUMN leaf INTEGER",  # the end of the path that was chosen; NULL: the newest
    ),
    (*turn_table.SCHEMA, turn_table.move_timelines),
    (conversation_table.add_search,),
    (turn_table.pack_all, "CREATE INDEX turn_by_ttft ON turn (ttft)"),
)


def connect(path: Path) -> sqlite3.Connection:
    """An open, migrated database, for one thread at a time. Raises sqlite3.DatabaseError."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Made here, because SQLite would make it readable for others; it gives -wal and -shm the same mode.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise sqlite3.OperationalError(error.strerror or str(error)) from None
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, check_same_thread=False)
    try:
        _retry_while_busy(lambda: connection.execute("PRAGMA journal_mode = WAL"))
        connection.execute("PRAGMA synchronous = NORMAL")
        _prepare(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def reader(path: Path) -> sqlite3.Connection:
    """A connection to an open database that only reads. Raises sqlite3.OperationalError."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", timeout=BUSY_SECONDS, uri=True)


def _retry_while_busy(work: Callable[[], object]) -> None:
    """Changing the journal mode does not wait for another process's lock as other statements do."""
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            work()
        except sqlite3.OperationalError as error:
            if _primary_code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return


def memory() -> sqlite3.Connection:
    """An empty database in memory with the newest schema."""
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    _prepare(connection)
    return connection


def _prepare(connection: sqlite3.Connection) -> None:
    """Bring the schema up to date. Raises sqlite3.DatabaseError, also when a newer version wrote the file."""
    if _version(connection) < len(MIGRATIONS):
        connection.execute("BEGIN IMMEDIATE")
        with connection:
            for number in range(_version(connection), len(MIGRATIONS)):  # read again: another process may have done it
                for step in MIGRATIONS[number]:
                    if isinstance(step, str):
                        connection.execute(step)
                    else:
                        step(connection)
                connection.execute(f"PRAGMA user_version = {number + 1}")
    if _version(connection) > len(MIGRATIONS):
        raise sqlite3.NotSupportedError("it was written by a newer version of llmchat")
    connection.execute("PRAGMA foreign_keys = ON")


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def move_aside(path: Path) -> Path:
    """Rename the damaged file and its companions; nothing is deleted. Raises OSError."""
    stamp = f"{datetime.now():%Y%m%d-%H%M%S}-{os.urandom(2).hex()}"
    kept = path.with_name(f"{path.name}.damaged-{stamp}")
    path.rename(kept)
    for ending in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            Path(f"{path}{ending}").rename(f"{kept}{ending}")
    return kept


def _primary_code(error: sqlite3.Error) -> int:
    """SQLite's primary result code: the low byte of the extended one; 0 where the module raised the error itself."""
    code: int = getattr(error, "sqlite_errorcode", None) or 0
    return code & 0xFF


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the file's content is at fault, and not the disk or another process."""
    return _primary_code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def reason(error: Exception) -> str:
    """What went wrong, for people."""
    reasons = {
        sqlite3.SQLITE_FULL: "the disk is full",
        sqlite3.SQLITE_READONLY: "it is read-only",
        sqlite3.SQLITE_BUSY: "another program keeps it locked",
    }
    code = _primary_code(error) if isinstance(error, sqlite3.Error) else 0
    return reasons.get(code, str(error))
