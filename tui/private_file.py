"""Files that only their owner can read: exports, of what was said or of when."""

from __future__ import annotations

import os
from pathlib import Path

from backends.errors import BackendError, Code


def write(path: Path, data: bytes) -> None:
    """Write `data` to `path` (0600), in place of what was there. Raises BackendError."""
    try:
        descriptor = os.open(path.expanduser(), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o600)
            file.write(data)
    except OSError as error:
        raise BackendError(Code.BAD_REQUEST, f"{path} cannot be written: {error.strerror}") from None
