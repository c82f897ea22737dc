"""The child's log: its standard error, one small file per key, and the last words for a crash message."""

from __future__ import annotations

import os
import re
from pathlib import Path

LIMIT = 1_000_000
"""Bytes above which a log is set aside when its child starts again."""

KEPT = 8
"""How many logs are kept, of all models and settings together."""

_ROUTINE = re.compile(r"[\d-]+ [\d:,]+ INFO ")  # as the child's logging writes it
_TAIL = 4096
_LINE = 300


class LogFile:
    """The log of the child for one key; `path` is shown to people. Where `folder` cannot be written, `spare` is."""

    def __init__(self, folder: Path, key: str, spare: Path | None = None) -> None:
        self.path = folder / f"engine-{key}.log"
        self._spare = spare

    def open(self) -> int:
        """A descriptor to append to, 0600. A large log is renamed first, and the oldest ones are removed."""
        try:
            return self._open()
        except OSError:  # a read-only home, for instance
            if self._spare is None:
                raise
            self.path = self._spare / self.path.name
            return self._open()

    def _open(self) -> int:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.path.exists() and self.path.stat().st_size > LIMIT:
            self.path.rename(self.path.with_suffix(".log.old"))
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        logs = sorted(self.path.parent.glob("engine-*.log*"), key=lambda log: log.stat().st_mtime, reverse=True)
        for old in logs[KEPT:]:
            old.unlink(missing_ok=True)
        return descriptor

    def last_line(self, start: int = 0) -> str:
        """The last line that tells something, written after byte `start`; "" if there is none.

        Routine (INFO) is left out, and so are characters that cannot be printed.
        """
        try:
            with self.path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(start, size - _TAIL))
                lines = file.read().decode("utf-8", "replace").splitlines()
        except OSError:
            return ""
        words = ("".join(char for char in line if char.isprintable()).strip() for line in reversed(lines))
        return next((line for line in words if line and not _ROUTINE.match(line)), "")[:_LINE]
