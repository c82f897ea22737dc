"""The index of a set of documents: SQLite FTS5 with BM25, in a file or in memory, brought up to date step by step.

Each refresh is one transaction, so a crash leaves the state before it. A changed file is known by its modification
time and size, and by its text's hash where these moved. A file that is no sound index is thrown away and built again:
it holds nothing that the documents do not. Blocking and thread safe; call it from a worker thread.

FTS5: https://www.sqlite.org/fts5.html (external content table, bm25(), the fts5vocab table).
"""

from __future__ import annotations

import difflib
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from backends.errors import BackendError, Code
from backends.rag import chunk, load
from backends.rag.words import STOP, key, words

logger = logging.getLogger(__name__)

_APPLICATION_ID = 0x6C6C6D63  # "llmc": that an SQLite file is ours
_SCHEMA_VERSION = 1  # raise it when the tables, the tokenizer or the cutting into passages change
_SETTLED_NS = 2_000_000_000
_TITLE_WEIGHT = 2.0
_SIMILAR = 0.82  # of difflib: "refnud" is "refund" (0.83), "friend" is not "find" (0.8)
_MAX_VOCABULARY = 50_000
_STOP_KEYS = frozenset(key(word) for word in STOP)

_SCHEMA = """
CREATE TABLE files (
    id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, name TEXT NOT NULL,
    mtime_ns INTEGER NOT NULL, size INTEGER NOT NULL, digest TEXT NOT NULL
);
CREATE TABLE passages (
    id INTEGER PRIMARY KEY, file INTEGER NOT NULL REFERENCES files ON DELETE CASCADE, place INTEGER NOT NULL,
    title TEXT NOT NULL, text TEXT NOT NULL, locator TEXT NOT NULL,
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
CREATE VIRTUAL TABLE vocabulary USING fts5vocab (search, row);
"""

T = TypeVar("T")


class Hit(msgspec.Struct, frozen=True):
    """A passage that matches. `source` is its file's name, `place` its number there from 0, `bm25` larger is better."""

    source: str
    place: int
    title: str
    text: str
    locator: str
    bm25: float


class Changes(msgspec.Struct, frozen=True):
    """What a refresh did, in files."""

    added: int = 0
    changed: int = 0
    removed: int = 0

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)


class Index:
    """The index of `documents` (folders and single files), kept in the file `path`, or in memory where that is None.

    The file is private (0600) and so is its folder, if it has to be made (0700). All methods raise BackendError:
    NOT_FOUND for documents that are not there, SHUTDOWN after `close`, INTERNAL where the file cannot be used.
    """

    def __init__(self, documents: Sequence[Path], path: Path | None = None) -> None:
        self._documents = tuple(documents)
        self._path = path
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._closing = threading.Event()

    def refresh(self) -> Changes:
        """Bring the index up to date with the disk; one transaction, none where nothing has changed."""
        files = load.find(self._documents)
        return self._with(lambda db: self._refresh(db, files))

    def search(self, keys: Sequence[str], limit: int) -> list[Hit]:
        """The `limit` best passages with any of `keys` (of words, `words.key`), best first. Any string is safe."""
        if not keys or limit < 1:
            return []
        expression = " OR ".join(_phrase(each) for each in keys)
        return self._with(lambda db: _search(db, expression, limit))

    def frequencies(self, keys: Sequence[str]) -> tuple[int, list[int]]:
        """The number of all passages, and in how many of them each of `keys` stands."""
        return self._with(lambda db: (_count(db), [_frequency(db, each) for each in keys]))

    def similar(self, word: str, limit: int = 3) -> list[str]:
        """Keys in the index that `word` may have been meant to be: it is their beginning, or a misspelling of them."""
        return self._with(lambda db: _similar(db, word, limit))

    def close(self) -> None:
        """Release the file; a refresh in progress stops at the next document and undoes itself."""
        self._closing.set()
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    # --- the connection ---------------------------------------------------------------------------------------

    def _with(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """`work` on the open index; a corrupt one is built again first. Foreign exceptions end here."""
        with self._lock:
            try:
                return self._attempt(work)
            except (sqlite3.Error, OSError) as error:
                where = self._path or "in memory"
                message = f"the document index {where} cannot be used: {error}; free or remove the file and ask again"
                raise BackendError(Code.INTERNAL, message) from error

    def _attempt(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return work(self._open())
        except sqlite3.DatabaseError as error:
            if self._path is None or not _is_corrupt(error):
                raise
            logger.warning("the document index %s is damaged (%s): building it again", self._path, error)
            self._discard()
        db = self._open()
        self._refresh(db, load.find(self._documents))
        return work(db)

    def _open(self) -> sqlite3.Connection:
        if self._closing.is_set():
            raise BackendError(Code.SHUTDOWN, "the document index is closed")
        if self._connection is None:
            self._connection = _connect(self._path)
            try:
                sound = _prepare(self._connection)
            except sqlite3.Error:
                self._connection.close()
                self._connection = None
                raise
            if not sound:  # an older version's
                self._discard()
                return self._open()
        return self._connection

    def _discard(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._path is not None:
            for suffix in ("", "-wal", "-shm", "-journal"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)

    # --- refreshing -------------------------------------------------------------------------------------------

    def _refresh(self, db: sqlite3.Connection, files: Sequence[load.File]) -> Changes:
        if not _differences(db, files):
            return Changes()
        with _transaction(db):
            known = _known(db)
            gone = known.keys() - {str(file.path) for file in files}
            db.executemany("DELETE FROM files WHERE path = ?", [(path,) for path in gone])
            added = changed = 0
            for file in files:
                if self._closing.is_set():
                    raise BackendError(Code.SHUTDOWN, "the document index is closed")
                before = known.get(str(file.path))
                if before is None or before[1:] != (file.name, file.mtime_ns, file.size):
                    written = _put(db, file, before[0] if before else None)
                    added += written and before is None
                    changed += written and before is not None
        changes = Changes(added, changed, len(gone))
        logger.info("document index: %d added, %d changed, %d removed", added, changed, len(gone))
        return changes


def _connect(path: Path | None) -> sqlite3.Connection:
    if path is not None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            os.fchmod(descriptor, 0o600)  # SQLite gives its side files the same mode
        finally:
            os.close(descriptor)
    # The lock of `Index` is what makes one connection safe in several threads.
    return sqlite3.connect(path or ":memory:", timeout=10, isolation_level=None, check_same_thread=False)


def _prepare(db: sqlite3.Connection) -> bool:
    """Make a new file an index; False for one of another version. Raises sqlite3.Error for what is not ours."""
    db.execute("PRAGMA foreign_keys = ON")
    db.execute("PRAGMA synchronous = NORMAL")  # with WAL a power cut loses the last refresh, never the file
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


def _stamp(file: load.File) -> tuple[str, int, int]:
    """How a file is recognised as unchanged. One that was written just now may be written again within the same tick
    of its clock, so its time is not trusted yet: it is read again next time."""
    settled = abs(time.time_ns() - file.mtime_ns) > _SETTLED_NS
    return file.name, file.mtime_ns if settled else 0, file.size


def _known(db: sqlite3.Connection) -> dict[str, tuple[int, str, int, int]]:
    """Path -> id, name, modification time, size."""
    rows = db.execute("SELECT path, id, name, mtime_ns, size FROM files")
    return {path: (number, name, mtime_ns, size) for path, number, name, mtime_ns, size in rows}


def _differences(db: sqlite3.Connection, files: Sequence[load.File]) -> bool:
    known = {path: stamp for path, (_, *stamp) in _known(db).items()}
    return known != {str(file.path): [file.name, file.mtime_ns, file.size] for file in files}


def _put(db: sqlite3.Connection, file: load.File, known: int | None) -> bool:
    """Write `file` and its passages; False where only its time had changed. Unreadable: kept without passages, so that
    it is not tried, and warned of, again before it changes."""
    text = load.read(file)
    digest = load.digest(text) if text is not None else ""
    row = (*_stamp(file), digest)
    if known is not None:
        if db.execute("SELECT name, digest FROM files WHERE id = ?", (known,)).fetchone() == (file.name, digest):
            db.execute("UPDATE files SET mtime_ns = ?, size = ? WHERE id = ?", (*row[1:3], known))
            return False
        db.execute("DELETE FROM files WHERE id = ?", (known,))
    number = db.execute(
        "INSERT INTO files (path, name, mtime_ns, size, digest) VALUES (?, ?, ?, ?, ?)", (str(file.path), *row)
    ).lastrowid
    cut = chunk.chunk_markdown if file.is_markdown else chunk.chunk_text
    db.executemany(
        "INSERT INTO passages (file, place, title, text, locator, title_keys, text_keys) VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (number, i, each.title, each.text, each.locator, _keys(each.title), _keys(each.text))
            for i, each in enumerate(cut(text or "", file.name))
        ],
    )
    return True


def _keys(text: str) -> str:
    return " ".join(key(word) for word in words(text))


def _phrase(text: str) -> str:
    """`text` as an FTS5 string, in which nothing is syntax."""
    clean = "".join(character if character.isalnum() else " " for character in text)
    return f'"{clean}"'


def _search(db: sqlite3.Connection, expression: str, limit: int) -> list[Hit]:
    rows = db.execute(
        """
        SELECT files.name, passages.place, passages.title, passages.text, passages.locator, -bm25(search, ?, 1.0)
        FROM search JOIN passages ON passages.id = search.rowid JOIN files ON files.id = passages.file
        WHERE search MATCH ? ORDER BY bm25(search, ?, 1.0), files.name, passages.place LIMIT ?
        """,
        (_TITLE_WEIGHT, expression, _TITLE_WEIGHT, limit),
    )
    return [Hit(*row) for row in rows]


def _count(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT count(*) FROM passages").fetchone()[0])


def _frequency(db: sqlite3.Connection, text: str) -> int:
    return int(db.execute("SELECT count(*) FROM search WHERE search MATCH ?", (_phrase(text),)).fetchone()[0])


def _similar(db: sqlite3.Connection, word: str, limit: int) -> list[str]:
    """Only keys with the same first letter and about the same length are compared (few misspell the first letter)."""
    stem = key(word)
    rows = db.execute(
        "SELECT term FROM vocabulary WHERE term >= ? AND term < ? LIMIT ?",
        (word[0], chr(min(ord(word[0]) + 1, 0x10FFFF)), _MAX_VOCABULARY),
    )
    terms = [term for (term,) in rows if term not in _STOP_KEYS]
    begun = sorted((term for term in terms if len(word) >= 4 and term.startswith(word)), key=len)
    meant = difflib.get_close_matches(
        stem, [term for term in terms if abs(len(term) - len(stem)) <= 3], limit, _SIMILAR
    )
    return list(dict.fromkeys([*begun, *meant]))[:limit]
