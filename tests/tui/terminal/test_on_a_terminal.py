"""What is written to a real terminal, cell by cell: the screen never differs from one that is drawn anew."""

from __future__ import annotations

import os
import re
import select
import sys
from pathlib import Path
from time import monotonic

import pytest
from ptyprocess import PtyProcess
from pyte import ByteStream, Screen

from tests.bench.screen import escapes

WIDTH, HEIGHT = 120, 30
MARK = re.compile(rb"\x1b\]777;([a-z]+)(?:;(\d+);(\d+))?\x07")


def written_by(seed: int, sync: bool) -> bytes:
    """All that the app writes until it ends. With `sync` the terminal says how far it has got."""
    app = Path(__file__).with_name("restless_app.py")
    environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[3]), *sys.path])
    command = [sys.executable, str(app), str(seed), str(int(sync))]
    process = PtyProcess.spawn(command, dimensions=(HEIGHT, WIDTH), env=environment)
    written, whole = b"", escapes.Whole()
    end = monotonic() + 60
    try:
        while monotonic() < end:
            if select.select([process.fd], [], [], 0.5)[0]:
                written += (piece := process.read(65536))
                if sync and (answers := escapes.answers(whole.feed(piece), kitty=None)):
                    process.write(answers)
    except EOFError:
        return written
    finally:
        process.terminate(force=True)
    raise AssertionError(f"it never ended: {written[-2000:]!r}")


class Terminal:
    """An emulated one."""

    def __init__(self, width: int, height: int) -> None:
        self.screen = Screen(width, height)
        self._stream = ByteStream(self.screen)

    def feed(self, data: bytes) -> None:
        self._stream.feed(escapes.for_pyte(data))

    def rows(self) -> list[list[object]]:
        """Characters with their styles."""
        return [[self.screen.buffer[y][x] for x in range(self.screen.columns)] for y in range(self.screen.lines)]

    def lines(self) -> str:
        return "\n".join(self.screen.display)


@pytest.mark.parametrize(("seed", "sync"), [(1, True), (2, False)])
def test_the_screen_is_the_same_as_one_that_is_drawn_anew(seed: int, sync: bool) -> None:
    written = written_by(seed, sync)
    terminal, begin, compared = Terminal(WIDTH, HEIGHT), 0, 0
    for mark in MARK.finditer(written):
        piece, begin = written[begin : mark.start()], mark.end()
        terminal.feed(piece)
        if mark[1] == b"size":
            terminal.screen.resize(int(mark[3]), int(mark[2]))
        elif mark[1] == b"before":
            shown, text = terminal.rows(), terminal.lines()
        else:
            anew = Terminal(terminal.screen.columns, terminal.screen.lines)
            anew.feed(piece)
            assert text == anew.lines(), f"repaint {compared}"
            assert shown == anew.rows(), f"styles, repaint {compared}"
            compared += 1
    assert compared == 10
    assert b"\x1b[r" in written, "the terminal never moved lines"
