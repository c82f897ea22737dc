"""An index in PostgreSQL, beyond one machine: full text search on the server, shared by all that answer from it.

Words are compared as everywhere here (`words.key`): the text search configuration is "simple" over keys, the title's
weighing more. `ts_rank_cd` orders, reranking decides. A schema of its own holds the tables of one set of documents.
Needs psycopg: ``pip install 'llmchat[postgres]'``.

Full text search: https://www.postgresql.org/docs/current/textsearch-controls.html
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, LiteralString, TypeVar

from backends.errors import BackendError, Code
from backends.rag.store import Hit, Indexed, Stamp, forms

if TYPE_CHECKING:
    from psycopg import Connection

_SCHEMA_VERSION = 1  # raise it when the tables, the keys of words or the cutting into passages change

_TABLES: tuple[LiteralString, ...] = (
    """CREATE TABLE IF NOT EXISTS files (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, path text NOT NULL UNIQUE, name text NOT NULL,
        mtime_ns bigint NOT NULL, size bigint NOT NULL, digest text NOT NULL, failure text NOT NULL
    )""",
    """CREATE TABLE IF NOT EXISTS passages (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, file bigint NOT NULL REFERENCES files ON DELETE CASCADE,
        place int NOT NULL, title text NOT NULL, text text NOT NULL, locator text NOT NULL, search tsvector NOT NULL
    )""",
    "CREATE INDEX IF NOT EXISTS passages_by_file ON passages (file)",
    "CREATE INDEX IF NOT EXISTS passages_by_word ON passages USING gin (search)",
    "CREATE TABLE IF NOT EXISTS forms (word text PRIMARY KEY, key text NOT NULL)",
    """CREATE TABLE IF NOT EXISTS vectors (
        passage bigint NOT NULL REFERENCES passages ON DELETE CASCADE, model text NOT NULL, vector bytea NOT NULL,
        PRIMARY KEY (passage, model)
    )""",
    "CREATE SEQUENCE IF NOT EXISTS changes",
)
_KEY = re.compile(r"[^\W_]+")

T = TypeVar("T")


class PostgresStore:
    """A `Store` in the database at `url` ("postgresql://user@host/database"), in the schema of `name`, which is made
    when it is first needed. The password belongs into ~/.pgpass or PGPASSWORD, not into the configuration.

    One connection, opened when it is first used, and again after it was lost.
    """

    def __init__(self, url: str, name: str) -> None:
        self._url = url
        self._schema = f"llmchat_{hashlib.sha256(name.encode()).hexdigest()[:16]}_{_SCHEMA_VERSION}"
        self._lock = threading.RLock()
        self._connection: Connection[tuple[Any, ...]] | None = None
        self._closed = False

    def known(self) -> dict[str, Stamp]:
        """See `Store`."""
        rows = self._rows("SELECT path, name, mtime_ns, size, digest, failure FROM files")
        return {row[0]: Stamp(*row) for row in rows}

    def put(self, stamp: Stamp, passages: Sequence[Indexed]) -> None:
        """See `Store`."""
        self._write(lambda db: _put(db, stamp, passages))

    def touch(self, stamp: Stamp) -> None:
        """See `Store`. It changes nothing that a search sees."""
        row = (stamp.mtime_ns, stamp.size, stamp.path)
        self._with(lambda db: db.execute("UPDATE files SET mtime_ns = %s, size = %s WHERE path = %s", row))

    def remove(self, paths: Sequence[str]) -> None:
        """See `Store`."""
        self._write(lambda db: db.execute("DELETE FROM files WHERE path = ANY(%s)", (list(paths),)))

    def version(self) -> int:
        """See `Store`."""
        return int(self._rows("SELECT last_value + is_called::int FROM changes")[0][0])

    def search(self, keys: Sequence[str], limit: int) -> list[Hit]:
        """See `Store`."""
        lexemes = _lexemes(keys)
        if not lexemes or limit < 1:
            return []
        rows = self._rows(
            """
            SELECT files.name, place, title, text, locator, ts_rank_cd('{0, 0, 0.5, 1}', search, query, 1), passages.id
            FROM passages JOIN files ON files.id = file, CAST(%s AS tsquery) AS query
            WHERE search @@ query ORDER BY 6 DESC, files.name, place LIMIT %s
            """,
            (" | ".join(f"'{each}'" for each in lexemes), limit),
        )
        return [_hit(*row) for row in rows]

    def hits(self, numbers: Sequence[int]) -> list[Hit]:
        """See `Store`."""
        rows = self._rows(
            """
            SELECT files.name, place, title, text, locator, 0.0, passages.id
            FROM passages JOIN files ON files.id = file WHERE passages.id = ANY(%s)
            """,
            (list(numbers),),
        )
        return [_hit(*row) for row in rows]

    def frequencies(self, keys: Sequence[str]) -> tuple[int, list[int]]:
        """See `Store`."""
        statement: LiteralString = "SELECT count(*) FROM passages WHERE search @@ CAST(%s AS tsquery)"
        total = int(self._rows("SELECT count(*) FROM passages")[0][0])
        asked = [_lexemes([each]) for each in keys]
        return total, [int(self._rows(statement, (f"'{own[0]}'",))[0][0]) if own else 0 for own in asked]

    def forms(self) -> dict[str, str]:
        """See `Store`."""
        return {row[0]: row[1] for row in self._rows("SELECT word, key FROM forms")}

    def without_vector(self, model: str) -> list[tuple[int, str]]:
        """See `Store`."""
        rows = self._rows(
            """
            SELECT id, title || ': ' || text FROM passages
            WHERE NOT EXISTS (SELECT FROM vectors WHERE passage = id AND model = %s) ORDER BY id
            """,
            (model,),
        )
        return [(number, text) for number, text in rows]

    def put_vectors(self, model: str, rows: Sequence[tuple[int, bytes]]) -> None:
        """See `Store`."""
        statement: LiteralString = """
            INSERT INTO vectors SELECT id, %s, %s FROM passages WHERE id = %s
            ON CONFLICT (passage, model) DO UPDATE SET vector = excluded.vector
        """
        values = [(model, vector, number) for number, vector in rows]

        def write(db: Connection[tuple[Any, ...]]) -> None:
            with db.cursor() as cursor:
                cursor.executemany(statement, values)

        self._write(write)

    def vectors(self, model: str) -> list[tuple[int, bytes]]:
        """See `Store`."""
        rows = self._rows("SELECT passage, vector FROM vectors WHERE model = %s ORDER BY passage", (model,))
        return [(number, bytes(vector)) for number, vector in rows]

    def close(self) -> None:
        """See `Store`."""
        with self._lock:
            self._closed = True
            self._drop()

    def _rows(self, statement: LiteralString, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        return self._with(lambda db: db.execute(statement, values).fetchall())

    def _write(self, work: Callable[[Connection[tuple[Any, ...]]], object]) -> None:
        def whole(db: Connection[tuple[Any, ...]]) -> None:
            with db.transaction():
                work(db)
                db.execute("SELECT nextval('changes')")

        self._with(whole)

    def _with(self, work: Callable[[Connection[tuple[Any, ...]]], T]) -> T:
        """`work` on the open connection; once more where that turns out to be lost. Foreign exceptions end here."""
        with self._lock, _foreign():
            from psycopg import OperationalError

            known = self._connection is not None
            try:
                return work(self._open())
            except OperationalError:
                self._drop()
                if not known:
                    raise
            return work(self._open())

    def _open(self) -> Connection[tuple[Any, ...]]:
        if self._closed:
            raise BackendError(Code.SHUTDOWN, "the document index is closed")
        if self._connection is None:
            from psycopg import connect, sql

            connection = connect(self._url, autocommit=True, connect_timeout=10)
            try:
                schema = sql.Identifier(self._schema)
                with connection.transaction():
                    connection.execute("SELECT pg_advisory_xact_lock(7162)")  # two that make the tables at once
                    connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(schema))
                    connection.execute(sql.SQL("SET LOCAL search_path TO {}").format(schema))
                    for statement in _TABLES:
                        connection.execute(statement)
                connection.execute(sql.SQL("SET search_path TO {}").format(schema))
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@contextmanager
def _foreign() -> Iterator[None]:
    """psycopg's exceptions as ours."""
    try:
        import psycopg
    except ModuleNotFoundError as error:
        message = "an index in PostgreSQL needs psycopg: pip install 'llmchat[postgres]'"
        raise BackendError(Code.CONFIG, message) from error
    try:
        yield
    except psycopg.Error as error:
        reason = " ".join(str(error).split())
        message = f"the document index in PostgreSQL cannot be used: {reason}; see to the server, then ask again"
        raise BackendError(Code.INTERNAL, message, retryable=isinstance(error, psycopg.OperationalError)) from error


def _put(db: Connection[tuple[Any, ...]], stamp: Stamp, passages: Sequence[Indexed]) -> None:
    db.execute("DELETE FROM files WHERE path = %s", (stamp.path,))
    row = db.execute(
        "INSERT INTO files (path, name, mtime_ns, size, digest, failure) VALUES (%s, %s, %s, %s, %s, %s) RETURNING id",
        (stamp.path, stamp.name, stamp.mtime_ns, stamp.size, stamp.digest, stamp.failure),
    ).fetchone()
    assert row is not None
    with db.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO passages (file, place, title, text, locator, search) VALUES (%s, %s, %s, %s, %s,
                setweight(to_tsvector('simple', %s), 'A') || setweight(to_tsvector('simple', %s), 'B'))
            """,
            [(row[0], i, *_texts(each), each.title_keys, each.text_keys) for i, each in enumerate(passages)],
        )
        cursor.executemany("INSERT INTO forms VALUES (%s, %s) ON CONFLICT DO NOTHING", list(forms(passages).items()))


def _hit(source: str, place: int, title: str, text: str, locator: str, rank: float, number: int) -> Hit:
    return Hit(source, place, title, text, locator, float(rank), number=number)


def _texts(each: Indexed) -> tuple[str, str, str]:
    return each.passage.title, each.passage.text, each.passage.locator


def _lexemes(keys: Sequence[str]) -> list[str]:
    """The letters and digits of `keys`: nothing in them is syntax."""
    return [found for each in keys for found in _KEY.findall(each)]
