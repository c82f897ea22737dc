"""The chat on a real terminal with a restless reader; now and then it shows what a full repaint would look like.

Run as ``python restless_app.py SEED SYNC``. Everything is random but for SEED; SYNC (0 or 1): whether the terminal is
taken to support synchronized output. Between the marks ``before`` and ``after`` stands a full repaint of the screen as
it should already be; a mark ``size`` says that the terminal has another size from here on.
"""

from __future__ import annotations

import asyncio
import fcntl
import inspect
import random
import struct
import sys
import termios
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

from backends.backend import Backend
from backends.config import Config, Ui
from backends.events import Done, Event, Status, Token
from tests.fakes.scripted import Scripted
from tui.app import LlmChat
from tui.history.history import History
from tui.transcript.transcript import Transcript
from tui.widgets.composer import Composer

PIECES = [
    *["word "] * 6,
    "**bold** ",
    "`code` ",
    "\n\n",
    "\n- item ",
    "\n```py\nx = 1\n",
    "\n```\n",
    "你好 ",
    "👍🏽 ",
    "é ",
    "\n\n# H\n",
]
KEYS = ["pageup", "pageup", "pagedown", "ctrl+end", "ctrl+end", "f2", "f1", "f4", "x", "shift+enter", "backspace"]
SIZES = [(120, 30), (100, 24), (70, 20), (50, 12)]
MARK = "\x1b]777;{}\x07"


class Pieces(Scripted):
    """Streams random text in bursts, until it is told that it was enough."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self.rng = rng
        self.enough = False
        self.more = asyncio.Event()

    async def _play(self) -> AsyncGenerator[Event, None]:
        yield Status("prefilling")
        while not self.enough:
            await self.more.wait()
            for _ in range(self.rng.randint(1, 60)):
                yield Token(self.rng.choice(PIECES))
                await asyncio.sleep(self.rng.choice([0, 0, 0.001, 0.02]))
            self.more.clear()
        yield Done(1, 1.0)


class RestlessApp(LlmChat):
    """Reads and writes all by itself."""

    CSS_PATH = Path(inspect.getfile(LlmChat)).with_name("app.tcss")
    painted = 0

    def on_mount(self) -> None:
        self.run_worker(self.play(random.Random(int(sys.argv[1]))), name="play")

    def _write(self, text: str) -> None:
        self.painted += bool(text)
        super()._write(text)

    async def play(self, rng: random.Random) -> None:
        """A few answers, during which anything is done."""
        await until(lambda: bool(self.chat.query(Composer)))
        await asyncio.sleep(0.3)
        self._sync_available = sys.argv[2] == "1"
        composer = self.chat.query_one(Composer)
        composer.cursor_blink = False
        for _ in range(2):
            backend.enough = False
            composer.post_message(Composer.Submitted("a question"))
            for _ in range(4):
                backend.more.set()
                while backend.more.is_set():
                    await self.act(rng)
                await self.compare()
            backend.enough = True
            backend.more.set()
            await until(lambda: self.chat.worker.turn is None)
            await self.compare()
        self.exit()

    async def act(self, rng: random.Random) -> None:
        """Perhaps a key, another size, a selection, a message."""
        await asyncio.sleep(rng.choice([0.01, 0.05]))
        what = rng.random()
        if what < 0.25:
            self.simulate_key(rng.choice(KEYS))
        elif what < 0.28:
            self.notify("something")
        elif what < 0.31:
            self.chat.query_one(Transcript).copy_next("message")
        elif what < 0.34:
            self.resize(*rng.choice(SIZES))
        elif self.screen is not self.chat and what < 0.5:
            self.screen.dismiss()

    def resize(self, width: int, height: int) -> None:
        """What a window manager does."""
        self.mark(f"size;{width};{height}")
        fcntl.ioctl(sys.__stdout__, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    async def compare(self) -> None:
        """Shows the screen again, once it is still."""
        before = -1
        frames = self.chat.query_one(Transcript).clock  # held back while the terminal seems to be behind
        while before != self.painted or self._notifications or frames.planned:
            before = self.painted
            self.clear_notifications()
            await asyncio.sleep(0.3)  # longer than between two looks of the panel
        self.mark("before")
        self.action_redraw()
        await until(lambda: self.painted > before)
        self.mark("after")

    def mark(self, what: str) -> None:
        """Something that no terminal shows."""
        self._driver.write(MARK.format(what))


async def until(condition: Callable[[], bool]) -> None:
    """Wait for it; the test gives up if it never comes."""
    while True:
        if condition():
            return
        await asyncio.sleep(0.01)


def open_backend(_name: str) -> Backend:
    """The one there is."""
    return backend


if __name__ == "__main__":
    backend = Pieces(random.Random(sys.argv[1] + "text"))
    history = History(None)
    RestlessApp(
        config=Config(backends={"demo": {"type": "replay"}}, ui=Ui(panel="full")),
        open_backend=open_backend,
        backend_name="demo",
        history=history,
        clock=lambda: 1.0,
    ).run()
    history.close()
