"""A home of its own for a child process, so that a test sees nothing of the person who runs it, and changes nothing."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FOREIGN = ("LLMCHAT_", "XDG_", "PYTEST", "COLUMNS", "LINES", "COV_")


@contextmanager
def environment(home: Path) -> Iterator[dict[str, str]]:
    """The environment of somebody who lives in `home` and has configured nothing."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(_FOREIGN)}
    folders = {f"XDG_{kind}_HOME": str(home / kind.lower()) for kind in ("CONFIG", "DATA", "STATE", "CACHE")}
    runtime = tempfile.mkdtemp(prefix="llmchat-test-")  # short: sockets lie in it
    try:
        yield kept | folders | {"HOME": str(home), "XDG_RUNTIME_DIR": runtime}
    finally:
        shutil.rmtree(runtime, ignore_errors=True)
