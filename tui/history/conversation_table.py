"""The conversations in the history's file: listed, searched, renamed, deleted. SQL on an open connection.

The text of questions, and of answers once they have ended, is searched by SQLite's FTS5; where a build lacks that, by
plain comparison.
"""

from __future__ import annotations

import re
import sqlite3

import msgspec

_TRIGGERS = (
    """CREATE TRIGGER search_question AFTER INSERT ON message WHEN new.role = 'user' BEGIN
        INSERT INTO message_search (rowid, content) VALUES (new.id, new.content);
    END""",
    # An answer is written twice a second while it streams: it is indexed when it has ended.
    """CREATE TRIGGER search_answer AFTER UPDATE OF outcome ON message WHEN new.outcome <> 'running' BEGIN
        DELETE FROM message_search WHERE rowid = new.id;
        INSERT INTO message_search (rowid, content) VALUES (new.id, new.content);
    END""",
    """CREATE TRIGGER search_deleted AFTER DELETE ON message BEGIN
        DELETE FROM message_search WHERE rowid = old.id;
    END""",
)

_COUNT = "(SELECT count(*) FROM message WHERE message.conversation = conversation.id AND role = 'user')"
_SELECT = f"SELECT conversation.id, title, conversation.created, updated, conversation.backend, {_COUNT}"


class Listed(msgspec.Struct, frozen=True):
    """A conversation in a list; moments in seconds since the epoch. `excerpt`: where the words were found."""

    id: str
    title: str
    created: float
    updated: float
    backend: str
    questions: int
    excerpt: str = ""


def add_search(connection: sqlite3.Connection) -> None:
    """The index of all words, where this build of SQLite can keep one."""
    try:
        connection.execute("CREATE VIRTUAL TABLE message_search USING fts5 (content, tokenize = 'unicode61')")
    except sqlite3.OperationalError:
        return
    for trigger in _TRIGGERS:
        connection.execute(trigger)
    connection.execute(
        "INSERT INTO message_search (rowid, content) SELECT id, content FROM message"
        " WHERE content <> '' AND role IN ('user', 'assistant')"
    )


def listed(connection: sqlite3.Connection, words: str = "", limit: int = 500) -> list[Listed]:
    """The newest conversations first; with `words` those in which all of them stand, as beginnings of words, in one
    message or in the title."""
    if not words.strip():
        query = f"{_SELECT} FROM conversation ORDER BY updated DESC, conversation.rowid DESC LIMIT ?"
        return [Listed(*row) for row in connection.execute(query, (limit,))]
    found: dict[str, Listed] = {}
    for row in _found(connection, words, limit):
        found.setdefault(row[0], Listed(*row))
    return list(found.values())


def _found(
    connection: sqlite3.Connection, words: str, limit: int
) -> list[tuple[str, str, float, float, str, int, str]]:
    like = "%" + re.sub(r"([%_^])", r"^\1", words.strip()) + "%"
    titled = f"{_SELECT}, '' FROM conversation WHERE title LIKE :like ESCAPE '^'"
    if _has_index(connection):
        said = f"""{_SELECT}, snippet(message_search, 0, '', '', '…', 12) FROM message_search
            JOIN message ON message.id = message_search.rowid
            JOIN conversation ON conversation.id = message.conversation
            WHERE message_search MATCH :match"""
    else:
        said = f"""{_SELECT}, content FROM message JOIN conversation ON conversation.id = message.conversation
            WHERE content LIKE :like ESCAPE '^'"""
    quoted = ('"' + word.replace('"', '""') + '"*' for word in words.split())
    where = {"like": like, "match": " ".join(quoted), "limit": limit}
    query = f"SELECT * FROM ({said} UNION ALL {titled}) ORDER BY updated DESC LIMIT :limit"
    return connection.execute(query, where).fetchall()


def _has_index(connection: sqlite3.Connection) -> bool:
    query = "SELECT 1 FROM sqlite_master WHERE name = 'message_search'"
    return connection.execute(query).fetchone() is not None


def rename(connection: sqlite3.Connection, conversation: str, title: str) -> None:
    """Give it another title."""
    connection.execute("UPDATE conversation SET title = ? WHERE id = ?", (title, conversation))


def delete(connection: sqlite3.Connection, conversation: str) -> None:
    """Take away all that was said in it, and its turns' timelines; the turns' numbers stay, for the statistics."""
    of_it = "SELECT turn.id FROM turn JOIN message ON message.id = turn.message WHERE message.conversation = ?"
    connection.execute(f"DELETE FROM turn_timeline WHERE turn IN ({of_it})", (conversation,))
    connection.execute("DELETE FROM conversation WHERE id = ?", (conversation,))
