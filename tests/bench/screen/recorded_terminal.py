"""A program on a pseudo-terminal, and everything that it wrote there with the time of each read."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import pyte
from ptyprocess import PtyProcess  # type: ignore[import-untyped]

from tests.bench.screen import escapes

LINES, COLUMNS = 40, 120
POLL = 0.002
"""Seconds between two looks at the screen; part of every figure taken from the screen."""

KEYS = {"enter": b"\r", "escape": b"\x1b"}
KITTY_KEYS = {"escape": b"\x1b[27u"}


class Read(NamedTuple):
    """What one read from the terminal gave, and when (``time.monotonic``)."""

    at: float
    data: bytes


class Screen:
    """An emulated screen."""

    def __init__(self) -> None:
        self._screen = pyte.Screen(COLUMNS, LINES)
        self._stream = pyte.ByteStream(self._screen)
        self._whole = escapes.Whole()

    def feed(self, data: bytes) -> None:
        """Draw."""
        self._stream.feed(escapes.for_pyte(self._whole.feed(data)))

    def changed_lines(self) -> list[str]:
        """The lines drawn on since the last call."""
        lines = [self._screen.display[number] for number in sorted(self._screen.dirty) if number < LINES]
        self._screen.dirty.clear()
        return lines

    @property
    def text(self) -> str:
        """All lines."""
        return "\n".join(line.rstrip() for line in self._screen.display)


class RecordedTerminal:
    """`command` on a terminal that answers queries as a modern one does; a context manager.

    `kitty`: whether the terminal knows kitty's keyboard protocol, with which Esc is a key and no prefix.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], folder: Path, *, kitty: bool = True
    ) -> None:
        self.reads: list[Read] = []
        self._kitty: int | None = 0 if kitty else None
        self._screen = Screen()
        self._drawn = 0  # reads that are on the screen
        self._lock = threading.Lock()
        self._ended = False
        self.started = time.monotonic()
        self.process = PtyProcess.spawn(
            list(command), cwd=str(folder), env=dict(environment), dimensions=(LINES, COLUMNS)
        )
        self.pid: int = self.process.pid
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> RecordedTerminal:
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
        """The screen."""
        self._draw(None)
        return self._screen.text

    def press(self, key: str) -> float:
        """Press a named key; when, just before."""
        data = KITTY_KEYS.get(key, KEYS[key]) if self._kitty else KEYS[key]
        at = time.monotonic()
        self.process.write(data)
        return at

    def type(self, text: str) -> float:
        """Type `text`; when, just before."""
        at = time.monotonic()
        self.process.write(text.encode())
        return at

    def wait_for(self, pattern: str, patience: float) -> float | None:
        """When the screen matched `pattern`: the time of the read that made it; None if it did not in `patience` s."""
        until = time.monotonic() + patience
        wanted = re.compile(pattern, re.MULTILINE)
        if wanted.search(self.text):
            return self.reads[self._drawn - 1].at
        while not (at := self._draw(wanted)) and time.monotonic() < until and not self._ended:
            time.sleep(POLL)
        return at

    def wait_until_quiet(self, seconds: float, patience: float) -> None:
        """Wait until nothing was written for `seconds`, at most `patience` seconds."""
        until = time.monotonic() + patience
        while time.monotonic() < until:
            last = self.reads[-1].at if self.reads else self.started
            if time.monotonic() - last >= seconds:
                return
            time.sleep(0.02)

    def forget(self) -> None:
        """Leave out of the screen what was written so far and not looked at: emulating a stream takes long."""
        with self._lock:
            self._drawn = len(self.reads)

    def _draw(self, wanted: re.Pattern[str] | None) -> float | None:
        """Bring the screen up to date, or up to where it matches `wanted`; the time of that read."""
        with self._lock:
            while self._drawn < len(self.reads):
                at, data = self.reads[self._drawn]
                self._screen.feed(data)
                self._drawn += 1
                if wanted and wanted.search(self._screen.text):
                    return at
        return None

    def _read(self) -> None:
        whole = escapes.Whole()
        while True:
            try:
                data = os.read(self.process.fd, 65536)
            except OSError:  # EIO: the other end is closed
                data = b""
            if not data:
                self._ended = True
                return
            self.reads.append(Read(time.monotonic(), data))
            self._answer(whole.feed(data))

    def _answer(self, data: bytes) -> None:
        if self._kitty is not None and (flags := escapes.kitty_flags(data)) is not None:
            self._kitty = flags
        if out := escapes.answers(data, self._kitty):
            with contextlib.suppress(OSError):
                self.process.write(out)
