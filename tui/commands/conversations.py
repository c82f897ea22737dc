"""`llmchat conversations`: list, search, show, export, rename and delete what was said."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from backends.errors import BackendError, Code
from backends.events import Citation
from tui import log_file, private_file
from tui.commands.stats import open_history
from tui.exit_codes import ExitCode
from tui.history import conversation_table
from tui.history.conversation_table import Listed
from tui.history.history import History
from tui.history.message_table import StoredMessage
from tui.target import Target
from tui.widgets.plain import plain

Format = Literal["markdown", "json"]
NEWEST = "newest"


def listing(target: Target, words: str, json: bool) -> ExitCode:
    """The conversations, newest first; with `words` those in which they stand."""
    log_file.start()
    with open_history(target.load()) as history:
        found = history.read(lambda connection: conversation_table.listed(connection, words))
    if json:
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
        return ExitCode.COMPLETE
    for one in found:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(one.updated))
        print(f"{one.id}  {when}  {one.questions:>3}  {plain(one.title)}")
        if one.excerpt:
            print(f"{'':41}{plain(one.excerpt)}")
    if not found:
        print("nothing found" if words else "no conversations yet", file=sys.stderr)
    return ExitCode.COMPLETE


def export(target: Target, id: str, format: Format, output: Path | None) -> ExitCode:
    """One conversation, along the path that was chosen last. Raises BackendError where there is none of that id."""
    log_file.start()
    with open_history(target.load()) as history:
        conversation = _named(history, id)
        messages = history.thread(conversation.id)
    text = as_json(conversation, messages) if format == "json" else as_markdown(conversation, messages)
    if output is None:
        sys.stdout.buffer.write(text)
    else:
        private_file.write(output, text)
    return ExitCode.COMPLETE


def rename(target: Target, id: str, title: str) -> ExitCode:
    """Give a conversation another title."""
    log_file.start()
    with open_history(target.load()) as history:
        history.rename_conversation(_named(history, id).id, title)
    return ExitCode.COMPLETE


def delete(target: Target, id: str, confirmed: bool) -> ExitCode:
    """Delete a conversation; asks before, unless `confirmed`. Raises BackendError where nobody can be asked."""
    log_file.start()
    with open_history(target.load()) as history:
        conversation = _named(history, id)
        if not confirmed:
            if not sys.stdin.isatty():
                raise BackendError(Code.CONFIG, "deleting needs --yes where nobody can be asked")
            if input(f"Delete '{plain(conversation.title)}' for good? [y/N] ").strip().lower() not in ("y", "yes"):
                return ExitCode.COMPLETE
        history.delete_conversation(conversation.id)
    return ExitCode.COMPLETE


def _named(history: History, id: str) -> Listed:
    """The conversation whose id is or begins with `id`. Raises BackendError."""
    everything = history.read(lambda connection: conversation_table.listed(connection, limit=1_000_000))
    found = everything[:1] if id == NEWEST else [one for one in everything if id and one.id.startswith(id)]
    if len(found) == 1:
        return found[0]
    what = f"{len(found)} conversations' ids begin with '{id}'" if found else f"there is no conversation '{id}'"
    raise BackendError(Code.CONFIG, f"{what}: see llmchat conversations list")


def as_markdown(conversation: Listed, messages: Sequence[StoredMessage]) -> bytes:
    """A document: the title, who said what, and the sources under each answer."""
    parts = [f"# {conversation.title or 'Conversation'}"]
    for message in messages:
        who = "You" if message.role == "user" else " ".join(filter(None, (message.backend, message.model)))
        parts.append(f"## {who or message.role}")
        parts.append(message.content)
        if message.citations:
            parts.append("\n".join(f"[{one.id}] {_place(one)}" for one in message.citations))
        if message.role == "assistant" and message.outcome != "complete":
            parts.append(f"*({message.outcome})*")
    return ("\n\n".join(parts) + "\n").encode()


def _place(citation: Citation) -> str:
    """Title and place of a citation; the title of a passage often ends with the place."""
    title = citation.title or citation.source
    return title if citation.locator in title else f"{title} {citation.locator}"


def as_json(conversation: Listed, messages: Sequence[StoredMessage]) -> bytes:
    """Everything that is kept, but the timelines: `llmchat export` has those."""
    said = [
        {name: value for name, value in msgspec.to_builtins(message).items() if name != "timeline"}
        for message in (msgspec.structs.replace(message, timeline=None) for message in messages)
    ]
    value = {**msgspec.to_builtins(conversation), "messages": said}
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
