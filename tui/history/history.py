"""Conversations and turns, kept in one SQLite file.

A conversation is a tree: every message has a parent (None at the root), so that editing and regenerating only add
branches, and the conversation knows which path was chosen last. An assistant message keeps its thinking text, outcome,
citations and timeline; it is written while it streams, so that a killed process loses at most what came since its last
`update_message`.

Losing the disk never ends a chat: when the file cannot be read or written, `History` says so once in `notice` and goes
on in memory. Two processes may share the file (WAL), and two threads the `History`: each call is done as a whole.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from backends.backend import Role
from backends.config import ConfigFile
from backends.events import Citation
from backends.telemetry.timeline import Outcome, Timeline
from backends.telemetry.turns import TurnNumbers, numbers_of
from tui.history import conversation_table, message_table, turn_table
from tui.history.history_file import connect, is_damage, memory, move_aside, reader, reason
from tui.history.message_table import NewMessage, StoredMessage, packed

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

T = TypeVar("T")
log = logging.getLogger(__name__)


class Conversation(msgspec.Struct, frozen=True):
    """One line of the list of conversations; `updated` in seconds since the epoch."""

    id: str
    title: str
    updated: float
    backend: str


def default_path() -> Path:
    """The history's file in the platform's data folder; neither need exist."""
    from platformdirs import user_data_path

    return user_data_path("llmchat") / "history.sqlite"


def path_of(file: ConfigFile) -> Path:
    """The history that the configuration names (a relative path counts from its folder), else the default one."""
    if not file.config.history.path:
        return default_path()
    folder = file.path.parent if file.path else Path()
    return folder / Path(file.config.history.path).expanduser()


class History:
    """The store. `notice` is empty, or one line on why something is not saved or where a damaged file went."""

    def __init__(self, path: Path | None = None) -> None:
        """Open or create the file at `path` (0600, in a folder that is made 0700); None keeps everything in memory."""
        self.path = path
        self.notice = ""
        self._mine: set[int] = set()  # messages that this process is writing: "running" is true of them
        self._unwritten: dict[str, str] = {}  # conversations without a message yet, and their backends
        self._lock = threading.RLock()
        self._recorder: ThreadPoolExecutor | None = None
        self._connection = self._open(path) if path else memory()

    @property
    def saved(self) -> bool:
        """Whether what is written now will be there after the process has ended."""
        return self.path is not None

    def create_conversation(self, backend: str) -> str:
        """The id of a new conversation. It is stored with its first message, so that none is empty."""
        conversation = os.urandom(8).hex()
        self._unwritten[conversation] = backend
        return conversation

    def latest_conversation(self) -> str | None:
        """The conversation that last got a message."""
        newest = self.conversations(1)
        return newest[0].id if newest else None

    def conversations(self, limit: int = 100) -> list[Conversation]:
        """The newest `limit` conversations, newest first. A title is the first words of the first user message."""
        query = "SELECT id, title, updated, backend FROM conversation ORDER BY updated DESC, rowid DESC LIMIT ?"
        rows = self._run(lambda connection: connection.execute(query, (limit,)).fetchall())
        return [Conversation(*row) for row in rows]

    def rename_conversation(self, conversation: str, title: str) -> None:
        """Give a conversation another title."""
        self._run(lambda connection: conversation_table.rename(connection, conversation, _storable(title)))

    def delete_conversation(self, conversation: str) -> None:
        """Delete a conversation and all that was said in it; what its turns took stays in the statistics."""
        self._settle()
        self._run(lambda connection: conversation_table.delete(connection, conversation))

    def add_message(
        self,
        conversation: str,
        parent: str | None,
        role: Role,
        content: str,
        *,
        sources: Iterable[Citation] = (),
        backend: str = "",
        model: str = "",
    ) -> str:
        """Store a message under `parent` and return its id. An assistant's starts as "running".

        Raises sqlite3.IntegrityError when there is no such conversation or parent.
        """
        outcome: Outcome = "running" if role == "assistant" else "complete"
        now, text = time.time(), _storable(content)
        new = NewMessage(conversation, _key(parent), role, outcome, now, backend, model, packed(sources), text)

        def insert(connection: sqlite3.Connection) -> int:
            if conversation in self._unwritten:
                connection.execute(
                    "INSERT OR IGNORE INTO conversation (id, backend, created, updated) VALUES (?, ?, ?, ?)",
                    (conversation, self._unwritten[conversation], now, now),
                )
            return message_table.insert(connection, new)

        key = self._run(insert)
        self._unwritten.pop(conversation, None)
        if outcome == "running":
            self._mine.add(key)
        return str(key)

    def update_message(
        self,
        message: str,
        *,
        content: str | msgspec.UnsetType = msgspec.UNSET,
        reasoning: str | msgspec.UnsetType = msgspec.UNSET,
        outcome: Outcome | msgspec.UnsetType = msgspec.UNSET,
        sources: Iterable[Citation] | msgspec.UnsetType = msgspec.UNSET,
        citations: Iterable[Citation] | msgspec.UnsetType = msgspec.UNSET,
        model: str | msgspec.UnsetType = msgspec.UNSET,
    ) -> None:
        """Change the given fields of a message, and no other. A message that is not there is left alone."""
        given: dict[str, Any] = {"outcome": outcome, "model": model}
        given["content"] = content if isinstance(content, msgspec.UnsetType) else _storable(content)
        given["reasoning"] = reasoning if isinstance(reasoning, msgspec.UnsetType) else _storable(reasoning)
        given["sources"] = sources if isinstance(sources, msgspec.UnsetType) else packed(sources)
        given["citations"] = citations if isinstance(citations, msgspec.UnsetType) else packed(citations)
        changes = {column: value for column, value in given.items() if value is not msgspec.UNSET}
        if not changes:
            return
        key = int(message)
        assignments = ", ".join(f"{column} = ?" for column in changes)
        values = (*changes.values(), key)
        self._run(lambda connection: connection.execute(f"UPDATE message SET {assignments} WHERE id = ?", values))
        if outcome == "running":
            self._mine.add(key)
        elif outcome is not msgspec.UNSET:
            self._mine.discard(key)

    def thread(self, conversation: str, leaf: str | None = None) -> list[StoredMessage]:
        """The messages from the root to `leaf` (default: where the path ends that was chosen last), root first.

        An answer that a killed process left "running" is given as "interrupted".
        """
        self._settle()
        return self._run(lambda connection: message_table.path(connection, conversation, _key(leaf), self._mine))

    def siblings(self, message: str) -> list[str]:
        """The ids of all messages with the same parent, `message` included, oldest first.

        Of the others, answers without a word are left out.
        """
        return self._run(lambda connection: message_table.siblings(connection, int(message)))

    def forks(self, conversation: str) -> dict[str | None, list[str]]:
        """The ids of the messages under each parent that has more than one, oldest first, by parent.

        Answers without a word are left out.
        """
        return self._run(lambda connection: message_table.forks(connection, conversation))

    def choose(self, conversation: str, message: str) -> None:
        """From now on `thread` gives the path through `message`, to the newest of all that follows it."""
        self._run(lambda connection: message_table.choose(connection, conversation, int(message)))

    def prompts(self, limit: int = 200) -> list[str]:
        """The texts of the newest `limit` different user messages of all conversations, newest first."""
        return self._run(lambda connection: message_table.prompts(connection, limit))

    # -- what each turn took -----------------------------------------------------------------------------------------

    def record(self, message: str, timeline: Timeline) -> None:
        """Store the timeline of an answer that has just ended, soon, in a thread of its own. Never fails."""
        from concurrent.futures import ThreadPoolExecutor  # not needed for the first frame

        if self._recorder is None:
            self._recorder = ThreadPoolExecutor(1, thread_name_prefix="history")
        self._recorder.submit(self._record, message, timeline)

    def add_turn(self, message: str | None, numbers: TurnNumbers, timeline: bytes) -> int:
        """Store a turn, of an answer or of none; its number."""
        return self._run(lambda connection: turn_table.insert(connection, _key(message), numbers, timeline))

    def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """What `query` (of `tui.history.turn_table`) finds, every turn that was recorded included.

        It has a connection of its own, so that what takes long holds up no writing.
        """
        self._settle()
        if self.path is not None:
            with contextlib.suppress(sqlite3.OperationalError), contextlib.closing(reader(self.path)) as connection:
                connection.execute("BEGIN")  # all that it asks is of one moment
                return query(connection)
        return self._run(query)

    def _record(self, message: str, timeline: Timeline) -> None:
        try:
            started = time.time() - (timeline.end_ms or 0.0) / 1000
            self.add_turn(message, numbers_of(timeline, started), timeline.dump())
        except Exception:  # it is the thread's boundary, and a chat goes on without its statistics
            log.exception("message %s: its timeline is not stored", message)

    def _settle(self) -> None:
        """Wait until what was to be recorded is."""
        if self._recorder is not None:
            self._recorder.submit(lambda: None).result()

    def close(self) -> None:
        """Close the file. Harmless when closed already."""
        if self._recorder is not None:
            self._recorder.shutdown()
        self._connection.close()

    def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """`work` as one transaction; in memory from now on if the file fails."""
        with self._lock:
            try:
                with self._connection:
                    return work(self._connection)
            except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
                raise
            except sqlite3.DatabaseError as error:
                if self.path is None:
                    raise
                self._connection = self._continue_in_memory(self.path, error)
                with self._connection:
                    return work(self._connection)

    def _open(self, path: Path) -> sqlite3.Connection:
        """The connection to the file at `path`, or, when that cannot be had, to memory. Sets `notice`."""
        try:
            return connect(path)
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                return self._unsaved(path, error)
        try:
            kept = move_aside(path)
            self.notice = f"{path} was damaged and is kept as {kept.name}; a new history was begun"
            return connect(path)
        except (OSError, sqlite3.DatabaseError) as error:
            return self._unsaved(path, error)

    def _continue_in_memory(self, path: Path, error: sqlite3.DatabaseError) -> sqlite3.Connection:
        """What the file holds, copied to memory as far as it can be read, because the file has failed."""
        copy = self._unsaved(path, error)
        if is_damage(error) or not self._copied_to(copy):
            copy.close()
            copy = memory()
            # Earlier messages are out of reach: new turns may name them as parents, but must not take their ids.
            copy.execute("PRAGMA foreign_keys = OFF")
            copy.execute("INSERT INTO sqlite_sequence VALUES ('message', ?)", (1 << 40,))
            copy.commit()
        self._connection.close()
        if is_damage(error):
            with contextlib.suppress(OSError):
                kept = move_aside(path)
                self.notice = f"{path} was damaged and is kept as {kept.name}; this chat is not saved"
        return copy

    def _copied_to(self, copy: sqlite3.Connection) -> bool:
        try:
            self._connection.backup(copy)
        except sqlite3.Error:
            return False
        return True

    def _unsaved(self, path: Path, error: Exception) -> sqlite3.Connection:
        self.path = None
        self.notice = f"{path} cannot be used ({reason(error)}); this chat is not saved"
        return memory()


def _key(message: str | None) -> int | None:
    return None if message is None else int(message)


def _storable(text: str) -> str:
    """`text` without lone surrogates, which UTF-8 cannot hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text
