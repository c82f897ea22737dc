"""The turns in the history's file: what each took, apart from what was said in it. SQL on an open connection."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, get_args

import msgspec

from backends.backend import Feature
from backends.config import Budget
from backends.telemetry.statistics import METRICS, Cell, Metric
from backends.telemetry.timeline import Timeline
from backends.telemetry.turns import TurnNumbers, numbers_of

# A turn's kind is apart from it, so that 100,000 turns can be told apart without reading as many strings; and so is its
# timeline, so that reading the numbers does not read past it.
SCHEMA: tuple[str, ...] = (
    """CREATE TABLE turn_kind (
        id INTEGER PRIMARY KEY,
        backend TEXT NOT NULL,
        model TEXT NOT NULL,
        feature TEXT NOT NULL,
        day TEXT NOT NULL,
        UNIQUE (day, backend, model, feature)
    )""",
    """CREATE TABLE turn (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        message INTEGER REFERENCES message (id) ON DELETE SET NULL,
        kind INTEGER NOT NULL REFERENCES turn_kind (id),
        started REAL NOT NULL,
        outcome TEXT NOT NULL,
        ttft REAL,
        tpot REAL,
        total REAL,
        queue REAL,
        tokens INTEGER NOT NULL,
        prompt_tokens INTEGER,
        cached_tokens INTEGER,
        draft_tokens INTEGER,
        accepted_tokens INTEGER,
        cost REAL,
        error TEXT NOT NULL
    )""",
    """CREATE TABLE turn_timeline (
        turn INTEGER PRIMARY KEY REFERENCES turn (id) ON DELETE CASCADE,
        timeline BLOB NOT NULL
    )""",
    "CREATE INDEX turn_by_started ON turn (started)",
    "CREATE INDEX turn_by_message ON turn (message)",
)

NEWEST_TIMELINE = """(SELECT turn_timeline.timeline FROM turn JOIN turn_timeline ON turn = turn.id
    WHERE turn.message = message.id ORDER BY turn.id DESC LIMIT 1)"""
"""The timeline of the newest run of `message`."""

_KIND = ("backend", "model", "feature")
_NUMBERS = tuple(name for name in TurnNumbers.__struct_fields__ if name not in ("id", *_KIND))
_ALL = ("id", *_KIND, *_NUMBERS)
_SELECT = f"SELECT turn.id, {', '.join((*_KIND, *_NUMBERS))}, timeline"
_FROM = "FROM turn JOIN turn_kind ON kind = turn_kind.id LEFT JOIN turn_timeline ON turn = turn.id"
_ANSWERED = "outcome IN ('complete', 'truncated')"

_SUMS = f"""
    SELECT kind, count(*), sum(outcome IN ('failed', 'interrupted')), sum(outcome = 'cancelled'),
        sum({_ANSWERED} AND ttft <= :ttft AND total <= :total), sum(tokens),
        sum(iif(cached_tokens IS NULL, 0, prompt_tokens)), sum(cached_tokens), sum(draft_tokens), sum(accepted_tokens),
        sum(cost)
    FROM turn WHERE started >= :since AND kind IN (SELECT id FROM turn_kind WHERE feature = :feature) GROUP BY kind"""
_SUM_FIELDS = (
    *("turns", "failed", "cancelled", "good", "tokens", "prompt_tokens", "cached_tokens", "draft_tokens"),
    *("accepted_tokens", "cost"),
)
_ONLY_OF: dict[Metric, str] = {"tpot": f" AND {_ANSWERED}", "total": f" AND {_ANSWERED}"}

StoredTurn = tuple[TurnNumbers, bytes | None]
"""A turn and its timeline; None where its conversation was deleted."""


def insert(connection: sqlite3.Connection, message: int | None, numbers: TurnNumbers, timeline: bytes) -> int:
    """Store a turn; its number."""
    kind = (numbers.day, numbers.backend, numbers.model, numbers.feature)
    connection.execute("INSERT OR IGNORE INTO turn_kind (day, backend, model, feature) VALUES (?, ?, ?, ?)", kind)
    of_kind = "SELECT id FROM turn_kind WHERE day = ? AND backend = ? AND model = ? AND feature = ?"
    values = [getattr(numbers, name) for name in _NUMBERS]
    cursor = connection.execute(
        f"INSERT INTO turn (message, kind, {', '.join(_NUMBERS)}) VALUES (?, ({of_kind}){', ?' * len(values)})",
        (message, *kind, *values),
    )
    key = int(cursor.lastrowid or 0)
    connection.execute("INSERT INTO turn_timeline (turn, timeline) VALUES (?, ?)", (key, timeline))
    return key


def cells(
    connection: sqlite3.Connection,
    budget: Callable[[Feature], Budget],
    since: float = 0.0,
    only: Mapping[str, str] | None = None,
) -> list[Cell]:
    """What the turns since `since` (seconds since the epoch) add up to, by kind; `only` of these columns' values."""
    found: dict[int, Cell] = {}
    for kind, *columns in connection.execute(f"SELECT id, day, {', '.join(_KIND)} FROM turn_kind"):
        cell = Cell(**dict(zip(("day", *_KIND), columns, strict=True)))
        if all(getattr(cell, column) == value for column, value in (only or {}).items()):
            found[kind] = cell
    for feature in get_args(Feature):
        limits = budget(feature)
        where = {"since": since, "feature": feature, "ttft": limits.ttft_ms, "total": limits.total_ms}
        for kind, *sums in connection.execute(_SUMS, where):
            if kind in found:
                for field, value in zip(_SUM_FIELDS, sums, strict=True):
                    setattr(found[kind], field, value if field == "cost" else value or 0)
    for metric in METRICS:
        for kind, values in _values(connection, metric, since).items():
            if kind in found:
                found[kind].values = found[kind].values | {metric: values}
    return [cell for cell in found.values() if cell.turns]


def _values(connection: sqlite3.Connection, metric: Metric, since: float) -> dict[int, list[float]]:
    """The values of `metric` by kind, in order."""
    query = f"SELECT kind, {metric} FROM turn WHERE {metric} IS NOT NULL AND started >= ?{_ONLY_OF.get(metric, '')}"
    values: dict[int, list[float]] = defaultdict(list)
    for kind, value in connection.execute(query, (since,)).fetchall():
        values[kind].append(value)
    for some in values.values():
        some.sort()
    return values


def slowest(
    connection: sqlite3.Connection, count: int, since: float = 0.0, only: Mapping[str, str] | None = None
) -> list[StoredTurn]:
    """The turns with the longest time to the first token, slowest first."""
    columns = "".join(f" AND {column} = ?" for column in (only or {}))
    where = f"ttft IS NOT NULL AND started >= ?{columns} ORDER BY ttft DESC LIMIT ?"
    return _turns(connection, where, (since, *(only or {}).values(), count))


def since(connection: sqlite3.Connection, moment: float, only: Mapping[str, str] | None = None) -> list[StoredTurn]:
    """The turns since `moment`, oldest first."""
    columns = "".join(f" AND {column} = ?" for column in (only or {}))
    return _turns(connection, f"started >= ?{columns} ORDER BY started, turn.id", (moment, *(only or {}).values()))


def find(connection: sqlite3.Connection, turn: int | None) -> StoredTurn | None:
    """The turn of that number, None: the newest; None where there is no such turn."""
    if turn is None:
        found = _turns(connection, "1 ORDER BY turn.id DESC LIMIT 1", ())
    else:
        found = _turns(connection, "turn.id = ?", (turn,))
    return found[0] if found else None


def before(connection: sqlite3.Connection, turn: int) -> StoredTurn | None:
    """The turn whose prompt the cache may have held when `turn` came: the newest before it that asked the same backend,
    in the same conversation, or, like itself, in none."""
    query = """
        SELECT earlier.id FROM turn AS this JOIN turn_kind AS kind ON kind.id = this.kind
        LEFT JOIN message AS mine ON mine.id = this.message
        JOIN turn AS earlier ON earlier.id < this.id
        JOIN turn_kind AS other_kind ON other_kind.id = earlier.kind AND other_kind.backend = kind.backend
        LEFT JOIN message AS other ON other.id = earlier.message
        WHERE this.id = ? AND other.conversation IS mine.conversation
        ORDER BY earlier.id DESC LIMIT 1"""
    row = connection.execute(query, (turn,)).fetchone()
    return None if row is None else find(connection, row[0])


def of_message(connection: sqlite3.Connection, message: str) -> int | None:
    """The number of the newest run of an answer."""
    row = connection.execute("SELECT max(id) FROM turn WHERE message = ?", (int(message),)).fetchone()
    return None if row is None else row[0]


def _turns(connection: sqlite3.Connection, where: str, values: tuple[Any, ...]) -> list[StoredTurn]:
    rows = connection.execute(f"{_SELECT} {_FROM} WHERE {where}", values).fetchall()
    return [(TurnNumbers(**dict(zip(_ALL, row[:-1], strict=True))), row[-1]) for row in rows]


def move_timelines(connection: sqlite3.Connection) -> None:
    """What earlier versions kept with each answer becomes a turn of its own; what cannot be read is left out."""
    rows = connection.execute("SELECT id, timeline, created, backend FROM message WHERE timeline IS NOT NULL")
    for message, stored, created, backend in rows.fetchall():
        try:
            numbers = numbers_of(Timeline.load(stored), created)
        except msgspec.DecodeError:
            continue
        insert(connection, message, msgspec.structs.replace(numbers, backend=backend), stored)
    connection.execute("UPDATE message SET timeline = NULL")
