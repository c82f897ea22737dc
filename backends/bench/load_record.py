"""What a load came to, kept as a JSON file: what was asked, on which machine, and every request's numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from backends.bench.record import machine
from backends.bench.sweep import Measured
from backends.errors import BackendError, Code

FORMAT = 1


class LoadRecord(msgspec.Struct, frozen=True):
    """`options`: those of the command that shape the load, by name. `machine`: the one that asked."""

    backend: str
    options: dict[str, Any]
    levels: tuple[Measured, ...]
    machine: dict[str, str] = msgspec.field(default_factory=machine)
    format: int = FORMAT

    def save(self, path: Path) -> None:
        """Write it, one request a line. Raises BackendError (CONFIG)."""
        try:
            path.write_bytes(msgspec.json.encode(self).replace(b'{"due"', b'\n{"due"') + b"\n")
        except OSError as error:
            raise BackendError(Code.CONFIG, f"{path}: cannot be written: {error.strerror}") from None


def read_record(path: Path) -> LoadRecord:
    """The record at `path`. Raises BackendError (CONFIG)."""
    try:
        record = msgspec.json.decode(path.read_bytes(), type=LoadRecord)
    except OSError as error:
        raise BackendError(Code.CONFIG, f"{path}: cannot be read: {error.strerror}") from None
    except msgspec.DecodeError as error:
        raise BackendError(Code.CONFIG, f"{path}: not what llmchat bench --json writes: {error}") from None
    if record.format != FORMAT:
        raise BackendError(Code.CONFIG, f"{path}: of another version of llmchat (format {record.format})")
    return record
