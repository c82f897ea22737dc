"""The messages in the history's file: a tree for each conversation. SQL on an open connection; keys are its numbers."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable
from typing import Any

import msgspec

from backends.backend import Role
from backends.events import Citation
from backends.telemetry.timeline import Outcome
from tui.history import turn_table

TITLE_CHARACTERS = 60
_COLUMNS = (
    "message.id, parent, role, content, reasoning, outcome, sources, citations, message.backend, model,"
    f" {turn_table.NEWEST_TIMELINE}, message.created"
)
_WORDLESS = "role = 'assistant' AND content = '' AND reasoning = ''"
"""Answers that failed or were cancelled before their first word: nothing to go back to."""
_ENCODER = msgspec.json.Encoder()
_CITATIONS = msgspec.json.Decoder(tuple[Citation, ...])


class StoredMessage(msgspec.Struct, frozen=True):
    """One message as kept. `sources` stood in a user turn's prompt; `citations` were used by an answer, `reasoning` is
    what was thought before it.

    `timeline` is that of an answer's newest run; `created` in seconds since the epoch.
    """

    id: str
    parent: str | None
    role: Role
    content: str
    reasoning: str
    outcome: Outcome
    sources: tuple[Citation, ...]
    citations: tuple[Citation, ...]
    backend: str
    model: str
    timeline: bytes | None
    created: float


class NewMessage(msgspec.Struct, frozen=True):
    """What is stored of a message when it is begun; the fields are the columns. `sources` as `packed` gives them."""

    conversation: str
    parent: int | None
    role: Role
    outcome: Outcome
    created: float
    backend: str
    model: str
    sources: bytes
    content: str


def insert(connection: sqlite3.Connection, new: NewMessage) -> int:
    """Store a message, which is where its conversation now ends, and names it if nothing has; its key."""
    columns = ", ".join(NewMessage.__struct_fields__)
    places = ", ".join("?" for _ in NewMessage.__struct_fields__)
    row = (*msgspec.structs.astuple(new), b"[]")
    cursor = connection.execute(f"INSERT INTO message ({columns}, citations) VALUES ({places}, ?)", row)
    key = int(cursor.lastrowid or 0)
    moved = (new.created, key, new.conversation)
    connection.execute("UPDATE conversation SET updated = ?, leaf = ? WHERE id = ?", moved)
    if new.role == "user":
        title = (_title(new.content), new.conversation)
        connection.execute("UPDATE conversation SET title = ? WHERE id = ? AND title = ''", title)
    return key


def path(
    connection: sqlite3.Connection, conversation: str, leaf: int | None, running: Collection[int]
) -> list[StoredMessage]:
    """The messages from the root to `leaf` (None: where the path ends that was chosen last), root first.

    `running`: those that this process is writing. Any other that is "running" is given as "interrupted".
    """
    query = f"""
        WITH RECURSIVE path (key, depth) AS (
            SELECT coalesce(
                :leaf,
                (SELECT leaf FROM conversation WHERE id = :conversation),
                (SELECT max(id) FROM message WHERE conversation = :conversation)
            ), 0
            UNION ALL
            SELECT parent, depth + 1 FROM message, path WHERE id = key AND parent IS NOT NULL
        )
        SELECT {_COLUMNS} FROM path JOIN message ON id = key WHERE conversation = :conversation
        ORDER BY depth DESC"""
    rows = connection.execute(query, {"leaf": leaf, "conversation": conversation}).fetchall()
    return [_stored(row, running) for row in rows]


def siblings(connection: sqlite3.Connection, message: int) -> list[str]:
    """The ids of all messages with the same parent, `message` included, oldest first.

    Of the others, answers without a word are left out.
    """
    query = f"""
        SELECT id FROM message, (SELECT conversation AS whole, parent AS above FROM message WHERE id = :this)
        WHERE conversation = whole AND parent IS above AND (id = :this OR NOT ({_WORDLESS})) ORDER BY id"""
    return [str(row[0]) for row in connection.execute(query, {"this": message}).fetchall()]


def forks(connection: sqlite3.Connection, conversation: str) -> dict[str | None, list[str]]:
    """The ids of the messages under each parent that has more than one, oldest first, by parent.

    Answers without a word are left out.
    """
    query = f"""
        SELECT parent, group_concat(id) FROM message WHERE conversation = ? AND NOT ({_WORDLESS})
        GROUP BY parent HAVING count(*) > 1"""
    rows = connection.execute(query, (conversation,)).fetchall()
    return {None if parent is None else str(parent): sorted(children.split(","), key=int) for parent, children in rows}


def choose(connection: sqlite3.Connection, conversation: str, message: int) -> None:
    """From now on `path` goes through `message`, to the newest of all that follows it."""
    query = """
        WITH RECURSIVE below (key) AS (
            SELECT :message UNION ALL SELECT id FROM message, below WHERE parent = key
        )
        UPDATE conversation SET leaf = (SELECT max(key) FROM below) WHERE id = :conversation"""
    connection.execute(query, {"message": message, "conversation": conversation})


def prompts(connection: sqlite3.Connection, limit: int) -> list[str]:
    """The texts of the newest `limit` different user messages of all conversations, newest first."""
    query = "SELECT content FROM message WHERE role = 'user' GROUP BY content ORDER BY max(id) DESC LIMIT ?"
    return [row[0] for row in connection.execute(query, (limit,)).fetchall()]


def packed(citations: Iterable[Citation]) -> bytes:
    """Citations as a column holds them."""
    return _ENCODER.encode(tuple(citations))


def _stored(row: tuple[Any, ...], running: Collection[int]) -> StoredMessage:
    key, parent, role, content, reasoning, outcome, sources, citations, backend, model, timeline, created = row
    return StoredMessage(
        id=str(key),
        parent=None if parent is None else str(parent),
        role=role,
        content=content,
        reasoning=reasoning,
        outcome="interrupted" if outcome == "running" and key not in running else outcome,
        sources=_CITATIONS.decode(sources),
        citations=_CITATIONS.decode(citations),
        backend=backend,
        model=model,
        timeline=timeline,
        created=created,
    )


def _title(text: str) -> str:
    """The first words of `text` on one line."""
    words = " ".join(text[: 4 * TITLE_CHARACTERS].split())
    if len(words) <= TITLE_CHARACTERS:
        return words
    return words[:TITLE_CHARACTERS].rsplit(" ", 1)[0] + "…"
