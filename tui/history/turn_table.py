"""The turns in the history's file: what each took, apart from what was said in it. SQL on an open connection."""

from __future__ import annotations

import itertools
import math
import sqlite3
import time
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import nan
from typing import Any

import msgspec

from backends.backend import Feature
from backends.config import Budget
from backends.telemetry.statistics import Cell
from backends.telemetry.timeline import Outcome, Timeline
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

_PACKED = (
    *("started", "ttft", "tpot", "total", "queue", "tokens", "prompt_tokens", "cached_tokens", "draft_tokens"),
    *("accepted_tokens", "cost"),
)
"""What `turn_kind.packed` has of each of its turns, and then how it ended; all of them 8-byte floats, NaN: not told.

Statistics want these of all turns: reading them row by row takes ten times as long.
"""
_ANSWERED, _FAILED, _CANCELLED = 1.0, 2.0, 3.0
_ENDINGS: dict[Outcome, float] = {
    "complete": _ANSWERED,
    "truncated": _ANSWERED,
    "failed": _FAILED,
    "interrupted": _FAILED,
    "cancelled": _CANCELLED,
}
_WIDTH = len(_PACKED) + 1
_DAY_S = 86_400  # the day of a turn is that of the time zone in which it was asked: no two are two days apart

StoredTurn = tuple[TurnNumbers, bytes | None]
"""A turn and its timeline; None where its conversation was deleted."""


def insert(connection: sqlite3.Connection, message: int | None, numbers: TurnNumbers, timeline: bytes) -> int:
    """Store a turn; its number."""
    key = _insert_row(connection, message, numbers, timeline)
    add = "UPDATE turn_kind SET packed = CAST(packed || ? AS BLOB) WHERE id = (SELECT kind FROM turn WHERE id = ?)"
    connection.execute(add, (_packed(numbers), key))
    return key


def _packed(numbers: TurnNumbers) -> bytes:
    told = (getattr(numbers, name) for name in _PACKED)
    ending = _ENDINGS.get(numbers.outcome, nan)
    return array("d", [*(nan if it is None else it for it in told), ending]).tobytes()


def pack_all(connection: sqlite3.Connection) -> None:
    """Add `packed` to a file in which turns are rows alone."""
    connection.execute("ALTER TABLE turn_kind ADD COLUMN packed BLOB NOT NULL DEFAULT x''")
    rows = connection.execute(f"SELECT kind, {', '.join(_NUMBERS)} FROM turn ORDER BY id")
    packed: dict[int, bytearray] = defaultdict(bytearray)
    for kind, *values in rows:
        packed[kind] += _packed(TurnNumbers(**dict(zip(_NUMBERS, values, strict=True))))
    connection.executemany("UPDATE turn_kind SET packed = ? WHERE id = ?", ((it, kind) for kind, it in packed.items()))


def _insert_row(connection: sqlite3.Connection, message: int | None, numbers: TurnNumbers, timeline: bytes) -> int:
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
    earliest = time.strftime("%Y-%m-%d", time.localtime(since - 2 * _DAY_S)) if since else ""
    columns = "".join(f" AND {column} = ?" for column in only or ())
    query = f"SELECT day, {', '.join(_KIND)}, packed FROM turn_kind WHERE day >= ?{columns}"
    found = []
    for *labels, packed in connection.execute(query, (earliest, *(only or {}).values())):
        cell = Cell(**dict(zip(("day", *_KIND), labels, strict=True)))
        _fill(cell, packed, budget(cell.feature), since)
        found.append(cell)
    return [cell for cell in found if cell.turns]


def _fill(cell: Cell, packed: bytes, limits: Budget, since: float) -> None:
    """Add up the turns of `cell`. NaN is not below any limit, nor equal to itself."""
    rows = array("d", packed)
    columns: list[Sequence[float]] = [rows[at::_WIDTH] for at in range(_WIDTH)]
    if since and any(at < since for at in columns[0]):
        kept = [at >= since for at in columns[0]]
        columns = [list(itertools.compress(column, kept)) for column in columns]
    _, ttft, tpot, total, queue, tokens, prompt, cached, drafted, accepted, cost, ending = columns
    answered = [it == _ANSWERED for it in ending]
    cell.turns, cell.failed, cell.cancelled = len(ending), ending.count(_FAILED), ending.count(_CANCELLED)
    cell.good = sum(
        first <= limits.ttft_ms and last <= limits.total_ms
        for first, last in zip(itertools.compress(ttft, answered), itertools.compress(total, answered), strict=True)
    )
    told = [it == it for it in cached]
    cell.tokens, cell.prompt_tokens = _whole(tokens), _whole(itertools.compress(prompt, told))
    cell.cached_tokens, cell.draft_tokens, cell.accepted_tokens = _whole(cached), _whole(drafted), _whole(accepted)
    costs = _known(cost)
    cell.cost = math.fsum(costs) if costs else None
    cell.values = {
        "ttft": sorted(_known(ttft)),
        "tpot": sorted(_known(itertools.compress(tpot, answered))),
        "total": sorted(_known(itertools.compress(total, answered))),
        "queue": sorted(_known(queue)),
    }


def _known(values: Iterable[float]) -> list[float]:
    return [it for it in values if it == it]


def _whole(values: Iterable[float]) -> int:
    return int(sum(_known(values)))


def slowest(
    connection: sqlite3.Connection, count: int, since: float = 0.0, only: Mapping[str, str] | None = None
) -> list[StoredTurn]:
    """The turns with the longest time to the first token, slowest first."""
    where, given = _where(since, only)
    # Found without their timelines, which are longer than all the rest.
    found = f"SELECT id {where} AND ttft IS NOT NULL ORDER BY ttft DESC LIMIT ?"
    return _turns(connection, f"turn.id IN ({found}) ORDER BY ttft DESC", (*given, count))


def _where(since: float, only: Mapping[str, str] | None) -> tuple[str, tuple[Any, ...]]:
    """The turns since `since` with `only` these values, and what stands for the question marks."""
    kinds, values = "".join(f" AND {column} = ?" for column in only or ()), tuple((only or {}).values())
    where = f"FROM turn WHERE kind IN (SELECT id FROM turn_kind WHERE 1{kinds})" if kinds else "FROM turn WHERE 1"
    if not since:  # all of them: no index is of help
        return where, values
    return f"{where} AND started >= ?", (*values, since)


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
        _insert_row(connection, message, msgspec.structs.replace(numbers, backend=backend), stored)
    connection.execute("UPDATE message SET timeline = NULL")
