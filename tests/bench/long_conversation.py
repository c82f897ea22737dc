"""What a long saved conversation costs: `python -m tests.bench.long_conversation`. Linux only; about a minute.

It writes a history of 200,000 tokens (hundreds of messages, some of 10 to 50 kB; with --huge one message of 1 MB),
opens it with `--continue` on a pseudo-terminal of 120 x 40 and reads it as a person would. Times are from key to the
read from the terminal that completes what was waited for. The same start with an empty history stands beside.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import struct
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.screen import process_usage
from tests.bench.screen.answer import script
from tests.bench.screen.measures import percentile
from tests.bench.screen.recorded_terminal import COLUMNS, LINES, RecordedTerminal
from tests.bench.screen.stage import surroundings
from tui.history.history import History

PROMPT = "Ask anything"
PAGE_UP, PAGE_DOWN, HOME, END, FIND = "\x1b[5~", "\x1b[6~", "\x1b[1;5H", "\x1b[1;5F", "\x06"
LONG_ANSWERS = {7: 10_000, 23: 4_000, 41: 2_500}
"""Tokens of the answers that are longer than the others, by their number; about 5.5 bytes each."""
LONGEST = 30
"""The number of the answer that --huge makes 1 MB long."""
LETTER = "\u0436"
"""A letter that nothing else on the screen has."""
PATIENCE = 60.0


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="bench-long-conversation", description=__doc__)
    parser.add_argument("--tokens", type=int, default=200_000, help="of the whole conversation (default 200,000)")
    parser.add_argument("--huge", action="store_true", help="one of its messages is 1 MB of Markdown")
    parser.add_argument("--pages", type=int, default=60, help="how often PgUp is pressed (default 60)")
    parser.add_argument("--starts", type=int, default=5, help="how often it is opened (default 5)")
    wanted = parser.parse_args()
    if not process_usage.available():
        sys.exit("this needs Linux: CPU time and memory are read from /proc")
    with tempfile.TemporaryDirectory(prefix="bench-long-") as folder:
        empty, long = Path(folder, "empty"), Path(folder, "long")
        middle = _write(empty, 0, huge=False) or _write(long, wanted.tokens, huge=wanted.huge)
        results: dict[str, list[float]] = {}
        for _ in range(wanted.starts):
            for name, home in (("empty", empty), ("long", long)):
                with _chat(home) as terminal:
                    _take(results, f"prompt, {name} history, ms", _opened(terminal, home))
        with _chat(long) as terminal:
            _opened(terminal, long)
            for name, value in _read(terminal, middle, wanted.pages):
                _take(results, name, value)
    for name, values in results.items():
        shown = " / ".join(f"{percentile(values, percent):,.0f}" for percent in (50, 95, 100))
        print(f"{name:<48} {shown}   ({len(values)})")
    print("p50 / p95 / max (how many)")


def _take(results: dict[str, list[float]], name: str, value: float) -> None:
    results.setdefault(name, []).append(value)


def _write(home: Path, tokens: int, *, huge: bool) -> str:
    """A history of about `tokens` tokens in `home`; a marker in its middle, "" without any."""
    home.mkdir()
    (home / "config.toml").write_text('[ui]\npanel = "full"\n[history]\npath = "history.sqlite"\n', "utf-8")
    history = History(home / "history.sqlite")
    conversation = history.create_conversation("bench")
    parent, written, number, middle = None, 0, 0, ""
    while written < tokens:
        number += 1
        size = min(LONG_ANSWERS.get(number, 700 + 37 * number % 500), max(60, tokens - written))
        text = "".join(piece.text for piece in script(size, seed=number)).replace(" mk", f" x{number}mk")
        if huge and number == LONGEST:
            text = "\n\n".join(f"## Part {part}\n\n{text}" for part in range(1_000_000 // len(text) + 1))
        if not middle and written > tokens / 2:
            middle = f"x{number}mk000003"
        question = history.add_message(conversation, parent, "user", f"Question {number}: what about it?")
        parent = history.add_message(conversation, question, "assistant", f"Answer {number} begins.\n\n{text}")
        written += size
        last = f"Answer {number} has ended." if written >= tokens else ""
        history.update_message(
            parent, content=f"Answer {number} begins.\n\n{text}\n\n{last}", outcome="complete", model="bench"
        )
    history.close()
    return middle


@contextmanager
def _chat(home: Path) -> Iterator[RecordedTerminal]:
    command = [sys.executable, "-m", "tui", "--config", str(home / "config.toml"), "--continue"]
    command += ["--url", "http://127.0.0.1:9/v1", "--model", "none"]
    with RecordedTerminal(command, surroundings(home), home) as terminal:
        yield terminal


def _opened(terminal: RecordedTerminal, home: Path) -> float:
    """Milliseconds until the prompt and, where there is one, the end of the conversation can be seen."""
    ready = rf"(?s)has ended\..*{PROMPT}" if home.name == "long" else PROMPT
    at = terminal.wait_for(ready, PATIENCE)
    if at is None:
        sys.exit(f"no prompt\n{terminal.text}")
    return (at - terminal.started) * 1000


def _read(terminal: RecordedTerminal, middle: str, pages: int) -> Iterator[tuple[str, float]]:
    """What a reader does, and how long each takes."""
    yield "key echo right after it, ms", _until(terminal, LETTER, LETTER)
    terminal.wait_until_quiet(1.0, PATIENCE)
    yield "resident when open, MB", _resident(terminal.pid)
    yield "CPU until idle, ms", process_usage.cpu_seconds(terminal.pid) * 1000
    for _ in range(pages):
        yield "PgUp, ms", _next_frame(terminal, PAGE_UP)
    for _ in range(pages):
        yield "PgDn, ms", _next_frame(terminal, PAGE_DOWN)
    yield "Ctrl+Home, ms", _until(terminal, HOME, "Answer 1 begins")
    terminal.wait_until_quiet(0.5, PATIENCE)
    yield "Ctrl+End, ms", _until(terminal, END, "has ended")
    terminal.wait_until_quiet(0.5, PATIENCE)
    terminal.type(FIND)
    terminal.wait_for("Search", PATIENCE)
    terminal.wait_until_quiet(0.5, PATIENCE)
    terminal.type(middle[:-1])
    terminal.wait_until_quiet(0.5, PATIENCE)
    yield "search, last letter to match in view, ms", _until(terminal, middle[-1], rf"(?s){middle}.*{middle}")
    terminal.wait_until_quiet(0.5, PATIENCE)
    yield "resize, ms", _resized(terminal, rf"{middle}")
    terminal.wait_until_quiet(1.0, PATIENCE)
    yield "resident in the end, MB", _resident(terminal.pid)
    yield "peak, MB", process_usage.peak_megabytes(terminal.pid)


def _until(terminal: RecordedTerminal, keys: str, wanted: str) -> float:
    at = terminal.type(keys)
    seen = terminal.wait_for(wanted, PATIENCE)
    if seen is None:
        sys.exit(f"{wanted!r} did not come\n{terminal.text}")
    return (seen - at) * 1000


def _next_frame(terminal: RecordedTerminal, keys: str) -> float:
    """Milliseconds to the first read after `keys`."""
    terminal.wait_until_quiet(0.1, PATIENCE)
    before = len(terminal.reads)
    at = terminal.type(keys)
    while len(terminal.reads) == before and time.monotonic() - at < PATIENCE:
        time.sleep(0.001)
    terminal.forget()
    return (terminal.reads[before].at - at) * 1000


def _resized(terminal: RecordedTerminal, kept: str) -> float:
    """Milliseconds from a narrower window to a frame that has `kept` in view."""
    before = len(terminal.reads)
    at = time.monotonic()
    fcntl.ioctl(terminal.process.fd, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS - 20, 0, 0))
    while time.monotonic() - at < PATIENCE:
        if any(kept.encode() in read.data for read in terminal.reads[before:]):
            return (terminal.reads[-1].at - at) * 1000
        time.sleep(0.001)
    sys.exit(f"{kept!r} is not in view after a resize")


def _resident(pid: int) -> float:
    """Megabytes (1,000,000 bytes)."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    main()
