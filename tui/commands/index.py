"""`llmchat index`: documents into the index, beforehand and with progress."""

from __future__ import annotations

import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from backends import providers
from backends.providers import rag
from backends.rag.options import Embedding
from tui import log_file
from tui.exit_codes import ExitCode
from tui.target import Target
from tui.widgets.plain import plain

if TYPE_CHECKING:
    from backends.rag.index import Progress


def run(target: Target, folder: Path) -> ExitCode:
    """Bring the index of `folder` up to date, with vectors where the target's backend has an embedding model, and print
    what that was and what could not be read. Raises BackendError."""
    file = target.load()
    options, site = providers.configured(file, file.config.backend)
    embedding = getattr(options, "embedding", Embedding())
    log_file.start()
    began = time.monotonic()
    documents = folder.expanduser().absolute()
    database: str = getattr(options, "database", "")
    with closing(rag.open_index(documents, rag.absolute(embedding, site), database)) as index:
        changes = index.refresh(_show if sys.stderr.isatty() else lambda progress: None)
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    for failure in changes.failures:
        print(f"{plain(failure.name)}: {plain(failure.reason)}", file=sys.stderr)
    counts = f"{changes.added} added, {changes.changed} changed, {changes.removed} removed"
    unread = f", {len(changes.failures)} not readable" if changes.failures else ""
    print(f"{counts}{unread}, in {time.monotonic() - began:.1f} s")
    return ExitCode.COMPLETE


def _show(progress: Progress) -> None:
    line = f"{progress.done} of {progress.total} {progress.what} {plain(progress.name)}"
    print(f"\r\x1b[K{line[:78]}", end="", file=sys.stderr, flush=True)
