"""Other people's servers as child processes on this machine."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

PATIENCE = 180.0
"""Seconds that one may take to start: litellm takes 6 on a quiet machine, and half a minute on a busy one."""


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@contextmanager
def child(command: Sequence[str], log: Path, ready: str, **variables: str) -> Iterator[None]:
    """`command`, once the URL `ready` answers with no server error, until the end. What it writes goes to `log`."""
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT, env=os.environ | variables
        ) as process,
    ):
        try:
            _wait_for(ready, process, log)
            yield
        finally:
            process.kill()


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        assert process.poll() is None, f"it ended: {log.read_text(errors='replace')[-2000:]}"
        try:
            with urlopen(url, timeout=1):
                return
        except HTTPError as error:
            error.close()
            if error.code < 500:
                return
        except (URLError, OSError):
            pass
        time.sleep(0.05)
    raise AssertionError(f"it does not answer: {log.read_text(errors='replace')[-2000:]}")
