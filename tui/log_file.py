"""The log file: warnings and defects with their tracebacks, which never go to the screen."""

from __future__ import annotations

import logging
import os
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import IO

from platformdirs import user_log_path

MEGABYTE = 1_000_000


class _PrivateFile(RotatingFileHandler):
    """A log file that only its owner can read, made with its first record."""

    def _open(self) -> IO[str]:  # type: ignore[override]
        folder = Path(self.baseFilename).parent
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return open(self.baseFilename, self.mode, encoding="utf-8", opener=_private)


class _Redacting(logging.Formatter):
    """Leaves keys out: a traceback shows what a defect's exception says."""

    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def path() -> Path:
    """Where the log is, in the platform's log folder; it need not exist."""
    return user_log_path("llmchat") / "llmchat.log"


def redacted(text: str) -> str:
    """`text` without the keys that this process has used."""
    secrets = sys.modules.get("backends.sse.secrets")  # not there: no server was talked to
    return text if secrets is None else str(secrets.redacted(text))


def start() -> None:
    """Send warnings and worse, of everything in this process, to the log file and nowhere else."""
    handler = _PrivateFile(path(), maxBytes=MEGABYTE, backupCount=1, delay=True)
    handler.setFormatter(_Redacting("%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.raiseExceptions = False  # a full disk must not write tracebacks over the screen


def defect() -> str:
    """Log the exception that is being handled; one line about it for the person at the terminal."""
    start()
    logging.getLogger("llmchat").exception("defect")
    return f"this is a defect of llmchat, please report it; the details are in {path()}"
