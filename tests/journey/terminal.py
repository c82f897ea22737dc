"""A terminal for tests: a real pty, with a screen that can be read while a thread keeps it up to date."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

import pyte
from ptyprocess import PtyProcess

PATIENCE = 90.0
"""Seconds that a state of the screen may take to appear: much, since the machine may be busy with other things."""

CTRL_C, CTRL_Q, ENTER, ESC, F8 = "\x03", "\x11", "\r", "\x1b", "\x1b[19~"

# What pyte would draw as text: queries of modes (DECRQM), and the kitty keyboard protocol's push, pop and query.
_UNKNOWN_TO_PYTE = re.compile(rb"\x1b\[\?\d+\$p|\x1b\[[<>=?]\d*(?:;\d+)?u")


class Terminal:
    """A command running on a terminal of `columns` x `rows`; use it with ``with``, which ends the command."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        env: dict[str, str],
        cwd: Path,
        columns: int = 120,
        rows: int = 40,
        term: str = "xterm-256color",
    ) -> None:
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self._lock = threading.Condition()
        self._closed = False
        self.raw = bytearray()
        environment = env | {"TERM": term, "COLORTERM": "truecolor"}
        self.process = PtyProcess.spawn(list(command), cwd=str(cwd), env=environment, dimensions=(rows, columns))
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.isalive():
            self.process.kill(signal.SIGKILL)
            self.process.wait()
        self._reader.join(10)
        with contextlib.suppress(OSError):
            self.process.close(force=True)

    @property
    def text(self) -> str:
        """The screen as lines."""
        with self._lock:
            return "\n".join(line.rstrip() for line in self._screen.display)

    def send(self, keys: str) -> None:
        """Press `keys`."""
        self.process.write(keys.encode())

    def wait_for(self, *wanted: str | Callable[[str], bool], patience: float = PATIENCE) -> str:
        """The screen as soon as it contains every text, or satisfies every function, in `wanted`."""
        until = time.monotonic() + patience
        while True:
            with self._lock:
                text = "\n".join(line.rstrip() for line in self._screen.display)
                if all(want in text if isinstance(want, str) else want(text) for want in wanted):
                    return text
                if self._closed or time.monotonic() > until:
                    ended = "the command has ended" if self._closed else f"not within {patience:.0f} s"
                    raise AssertionError(f"{ended}: {wanted}; the screen is:\n{text}")
                self._lock.wait(1.0)

    def ended(self, patience: float = PATIENCE) -> int:
        """Wait for the command to end; its exit code, negative for a signal."""
        self._reader.join(patience)
        if self._reader.is_alive():
            raise AssertionError(f"still running after {patience:.0f} s; the screen is:\n{self.text}")
        self.process.wait()
        status: int | None = self.process.exitstatus
        return status if status is not None else -self.process.signalstatus

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self.process.fd, 65536)
            except OSError:  # EIO: the other end is closed
                data = b""
            with self._lock:
                if data:
                    self.raw += data
                    self._stream.feed(_UNKNOWN_TO_PYTE.sub(b"", data))
                else:
                    self._closed = True
                self._lock.notify_all()
            if not data:
                return
