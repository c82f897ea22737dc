"""An index in SQLite, in a file or in memory: FTS5 with BM25, and vectors beside it.

Each file's passages are written in one transaction, so a crash loses at most the file that was being written. A file
that is no sound database is thrown away: it holds nothing that the documents do not.

FTS5: https://www.sqlite.org/fts5.html (external content table, bm25()).
"""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from backends.errors import BackendError, Code
from backends.rag.store import Damaged, Hit, Indexed, Stamp, forms

logger = logging.getLogger(__name__)

TITLE_WEIGHT = 2.0

_APPLICATION_ID = 0x6C6C6D63  # "llmc": that an SQLite file is ours
_SCHEMA_VERSION = 2  # raise it when the tables, the keys of words or the cutting into passages change

_SCHEMA = """
CREATE TABLE files (
    id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, name TEXT NOT NULL,
    mtime_ns INTEGER NOT NULL, size INTEGER NOT NULL, digest TEXT NOT NULL, failure TEXT NOT NULL
);
CREATE TABLE passages (
    id INTEGER PRIMARY KEY AUTOINCREMENT, file INTEGER NOT NULL REFERENCES files ON DELETE CASCADE,
    place INTEGER NOT NULL, title TEXT NOT NULL, text TEXT NOT NULL, locator TEXT NOT NULL,
    title_keys TEXT NOT NULL, text_keys TEXT NOT NULL
);
CREATE INDEX passages_by_file ON passages (file);
CREATE VIRTUAL TABLE search USING fts5 (
    title_keys, text_keys, content = 'passages', content_rowid = 'id', tokenize = 'unicode61 remove_diacritics 0'
);
CREATE TRIGGER passages_in AFTER INSERT ON passages BEGIN
    INSERT INTO search (rowid, title_keys, text_keys) VALUES (new.id, new.title_keys, new.text_keys);
END;
CREATE TRIGGER passages_out AFTER DELETE ON passages BEGIN
    INSERT INTO search (search, rowid, title_keys, text_keys)
        VALUES ('delete', old.id, old.title_keys, old.text_keys);
END;
CREATE TABLE forms (word TEXT PRIMARY KEY, key TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE vectors (
    passage INTEGER NOT NULL REFERENCES passages ON DELETE CASCADE, model TEXT NOT NULL, vector BLOB NOT NULL,
    PRIMARY KEY (passage, model)
);
CREATE TABLE state (version INTEGER NOT NULL);
INSERT INTO state VALUES (0);
"""

_HIT = "files.name, passages.place, passages.title, passages.text, passages.locator"
_FROM = "passages JOIN files ON files.id = passages.file"

T = TypeVar("T")


class SqliteStore:
    """A `Store` in the file `path`, or in memory where that is None; opened when it is first used.

    The file is private (0600) and so is its folder, if it has to be made (0700).
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._closed = False

    def known(self) -> dict[str, Stamp]:
        """See `Store`."""
        rows = self._with(
            lambda db: db.execute("SELECT path, name, mtime_ns, size, digest, failure FROM files").fetchall()
        )
        return {row[0]: Stamp(*row) for row in rows}

    def put(self, stamp: Stamp, passages: Sequence[Indexed]) -> None:
        """See `Store`."""
        self._write(lambda db: _put(db, stamp, passages))

    def touch(self, stamp: Stamp) -> None:
        """See `Store`. It changes nothing that a search sees."""
        row = (stamp.mtime_ns, stamp.size, stamp.path)
        self._with(lambda db: db.execute("UPDATE files SET mtime_ns = ?, size = ? WHERE path = ?", row))

    def remove(self, paths: Sequence[str]) -> None:
        """See `Store`."""
        self._write(lambda db: db.executemany("DELETE FROM files WHERE path = ?", [(path,) for path in paths]))

    def version(self) -> int:
        """See `Store`."""
        return int(self._with(lambda db: db.execute("SELECT version FROM state").fetchone()[0]))

    def search(self, keys: Sequence[str], limit: int) -> list[Hit]:
        """See `Store`."""
        if not keys or limit < 1:
            return []
        expression = " OR ".join(_phrase(each) for each in keys)
        statement = f"""
            SELECT {_HIT}, -bm25(search, ?, 1.0), passages.id
            FROM search JOIN {_FROM} WHERE passages.id = search.rowid AND search MATCH ?
            ORDER BY bm25(search, ?, 1.0), files.name, passages.place LIMIT ?
        """
        values = (TITLE_WEIGHT, expression, TITLE_WEIGHT, limit)
        rows = self._with(lambda db: db.execute(statement, values).fetchall())
        return [_hit(*row) for row in rows]

    def hits(self, numbers: Sequence[int]) -> list[Hit]:
        """See `Store`."""
        statement = f"SELECT {_HIT}, 0.0, passages.id FROM {_FROM} WHERE passages.id = ?"
        rows = self._with(lambda db: [row for each in numbers for row in db.execute(statement, (each,))])
        return [_hit(*row) for row in rows]

    def frequencies(self, keys: Sequence[str]) -> tuple[int, list[int]]:
        """See `Store`."""
        return self._with(lambda db: (_count(db), [_frequency(db, each) for each in keys]))

    def forms(self) -> dict[str, str]:
        """See `Store`."""
        return dict(self._with(lambda db: db.execute("SELECT word, key FROM forms").fetchall()))

    def without_vector(self, model: str) -> list[tuple[int, str]]:
        """See `Store`."""
        statement = """
            SELECT id, title || ': ' || text FROM passages
            WHERE id NOT IN (SELECT passage FROM vectors WHERE model = ?) ORDER BY id
        """
        return self._with(lambda db: db.execute(statement, (model,)).fetchall())

    def put_vectors(self, model: str, rows: Sequence[tuple[int, bytes]]) -> None:
        """See `Store`."""
        statement = "INSERT OR REPLACE INTO vectors SELECT id, ?, ? FROM passages WHERE id = ?"
        values = [(model, vector, number) for number, vector in rows]
        self._write(lambda db: db.executemany(statement, values))

    def vectors(self, model: str) -> list[tuple[int, bytes]]:
        """See `Store`."""
        statement = "SELECT passage, vector FROM vectors WHERE model = ? ORDER BY passage"
        return self._with(lambda db: db.execute(statement, (model,)).fetchall())

    def close(self) -> None:
        """See `Store`."""
        with self._lock:
            self._closed = True
            self._let_go()

    def _write(self, work: Callable[[sqlite3.Connection], object]) -> None:
        def whole(db: sqlite3.Connection) -> None:
            with _transaction(db):
                work(db)
                db.execute("UPDATE state SET version = version + 1")

        self._with(whole)

    def _with(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """`work` on the open database. Foreign exceptions end here."""
        with self._lock:
            try:
                return work(self._open())
            except (sqlite3.Error, OSError) as error:
                if self._path is not None and isinstance(error, sqlite3.DatabaseError) and _is_corrupt(error):
                    logger.warning("the document index %s is damaged (%s): building it again", self._path, error)
                    self._discard()
                    raise Damaged(str(error)) from error
                if self._path is not None and _cannot_be_written(error):
                    logger.warning("the document index is in memory: %s: %s", self._path, error)
                    self._let_go()
                    self._path = None
                    raise Damaged(str(error)) from error
                where = self._path or "in memory"
                message = f"the document index {where} cannot be used: {error}; free or remove the file and ask again"
                raise BackendError(Code.INTERNAL, message) from error

    def _open(self) -> sqlite3.Connection:
        if self._closed:
            raise BackendError(Code.SHUTDOWN, "the document index is closed")
        if self._connection is None:
            self._connection = _connect(self._path)
            try:
                sound = _prepare(self._connection)
            except sqlite3.Error:
                self._let_go()
                raise
            if not sound:  # an older version's
                self._discard()
                return self._open()
        return self._connection

    def _let_go(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _discard(self) -> None:
        self._let_go()
        if self._path is not None:
            for suffix in ("", "-wal", "-shm", "-journal"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)


def _connect(path: Path | None) -> sqlite3.Connection:
    if path is not None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            os.fchmod(descriptor, 0o600)  # SQLite gives its side files the same mode
        finally:
            os.close(descriptor)
    # The lock of `SqliteStore` is what makes one connection safe in several threads.
    return sqlite3.connect(path or ":memory:", timeout=10, isolation_level=None, check_same_thread=False)


def _prepare(db: sqlite3.Connection) -> bool:
    """Make a new file an index; False for one of another version. Raises sqlite3.Error for what is not ours."""
    db.execute("PRAGMA foreign_keys = ON")
    db.execute("PRAGMA synchronous = NORMAL")  # with WAL a power cut loses the last files, never the database
    # The tables decide whether the file is new: also reads it, so that garbage shows itself here.
    if not db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
        db.execute("PRAGMA journal_mode = WAL")
        with _transaction(db):
            if not db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:  # another process was no quicker
                for statement in _statements(_SCHEMA):
                    db.execute(statement)
                db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                db.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
    if db.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION_ID:
        raise sqlite3.OperationalError("it is somebody else's database")
    return bool(db.execute("PRAGMA user_version").fetchone()[0] == _SCHEMA_VERSION)


def _statements(script: str) -> Iterator[str]:
    """The statements of a script one by one: `executescript` would commit the open transaction."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def _is_corrupt(error: sqlite3.DatabaseError) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _cannot_be_written(error: sqlite3.Error | OSError) -> bool:
    """A read-only or full disk: what is there is not wrong, and an index in memory answers as well."""
    if isinstance(error, OSError):
        return error.errno in (errno.EROFS, errno.EACCES, errno.ENOSPC, errno.EDQUOT)
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY)


def _put(db: sqlite3.Connection, stamp: Stamp, passages: Sequence[Indexed]) -> None:
    db.execute("DELETE FROM files WHERE path = ?", (stamp.path,))
    number = db.execute(
        "INSERT INTO files (path, name, mtime_ns, size, digest, failure) VALUES (?, ?, ?, ?, ?, ?)",
        (stamp.path, stamp.name, stamp.mtime_ns, stamp.size, stamp.digest, stamp.failure),
    ).lastrowid
    db.executemany(
        "INSERT INTO passages (file, place, title, text, locator, title_keys, text_keys) VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (number, i, each.passage.title, each.passage.text, each.passage.locator, each.title_keys, each.text_keys)
            for i, each in enumerate(passages)
        ],
    )
    db.executemany("INSERT OR IGNORE INTO forms VALUES (?, ?)", forms(passages).items())


def _hit(source: str, place: int, title: str, text: str, locator: str, bm25: float, number: int) -> Hit:
    return Hit(source, place, title, text, locator, bm25, number=number)


def _phrase(text: str) -> str:
    """`text` as an FTS5 string, in which nothing is syntax."""
    clean = "".join(character if character.isalnum() else " " for character in text)
    return f'"{clean}"'


def _count(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT count(*) FROM passages").fetchone()[0])


def _frequency(db: sqlite3.Connection, text: str) -> int:
    return int(db.execute("SELECT count(*) FROM search WHERE search MATCH ?", (_phrase(text),)).fetchone()[0])
