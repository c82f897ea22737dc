"""What reaches a real terminal: after any streaming and scrolling the screen shows exactly what the widget holds."""

from __future__ import annotations

import json
import os
import select
import sys
from pathlib import Path
from time import monotonic

import pytest
from ptyprocess import PtyProcess
from pyte import ByteStream, Screen

ROWS, COLUMNS = 20, 70


def play(seed: int, expectation: Path) -> tuple[Screen, bytes]:
    """Runs the app until it has written its expectation and gone quiet; its screen and all it wrote."""
    screen = Screen(COLUMNS, ROWS)
    stream = ByteStream(screen)
    written = b""
    environment = {**os.environ, "TERM": "xterm-256color", "PYTHONPATH": os.pathsep.join(sys.path)}
    app = Path(__file__).with_name("pty_app.py")
    process = PtyProcess.spawn(
        [sys.executable, str(app), str(seed), str(expectation)], dimensions=(ROWS, COLUMNS), env=environment
    )
    try:
        end = monotonic() + 60
        quiet = 0
        while quiet < 3:
            assert monotonic() < end, screen.display
            if select.select([process.fd], [], [], 0.3)[0]:
                data = process.read(65536)
                stream.feed(data)
                written += data
                quiet = 0
            elif expectation.exists():
                quiet += 1
    finally:
        process.terminate(force=True)
    return screen, written


def bare(line: str) -> str:
    """`line` without blanks (pyte shows one after each wide character) and without the scrollbar at its end."""
    return "".join(line.split()).rstrip("▁▂▃▄▅▆▇█")


@pytest.mark.parametrize("seed", range(2))
def test_the_screen_shows_what_the_transcript_holds(seed: int, tmp_path: Path) -> None:
    expectation = tmp_path / "lines.json"
    screen, written = play(seed, expectation)
    expected = json.loads(expectation.read_text("utf-8"))
    assert [bare(line) for line in screen.display[: len(expected)]] == [bare(line) for line in expected]
    assert b"]0;pwned" not in written.replace(b"\xe2\x90\x9b]0;pwned", b"")
    assert "\x9b" not in written.decode()
