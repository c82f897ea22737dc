"""The app on scripted backends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widget import Widget

from backends.backend import Backend
from backends.config import Config, Ui
from backends.events import Citation, Event
from tests.fakes.scripted import Hold, Scripted
from tui.app import LlmChat
from tui.history.history import History
from tui.transcript.transcript import Transcript
from tui.widgets.composer import Composer
from tui.widgets.status_line import StatusLine

BACKENDS = {
    "demo": {"type": "local", "documents": "sample"},
    "box": {"type": "openai", "url": "http://gpu-box:8000/v1", "model": "qwen"},
}
PAUSE = Citation(
    "plans.md", "S1", title="Plans and prices", locator="Pausing", snippet="An annual plan can be paused once per term."
)
REFUND = Citation("refunds.md", "S2", title="Refunds", snippet="Refunds take five business days.")


class Clock:
    """A clock that moves when it is told to; seconds."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, ms: float) -> None:
        self.now += ms / 1000


class Chat:
    """An app and the backends that it opens, by name; a backend plays the script that stands when it is asked."""

    def __init__(self, history: History, panel: str = "full", conversation: str | None = None) -> None:
        self.history = history
        self.clock = Clock()
        self.backends = {name: Scripted() for name in BACKENDS}
        self.opening: Callable[[str], Backend] = lambda name: self.backends[name]
        self.app = LlmChat(
            config=Config(backends=dict(BACKENDS), ui=Ui(panel=panel)),  # type: ignore[arg-type]
            open_backend=lambda name: self.opening(name),
            backend_name="demo",
            history=history,
            conversation=conversation,
            config_path=Path("~/.config/llmchat/config.toml"),
            clock=self.clock,
        )

    @property
    def demo(self) -> Scripted:
        return self.backends["demo"]

    def plays(self, *script: Event | Hold | Exception, name: str = "demo") -> None:
        self.backends[name].script = script

    @property
    def composer(self) -> Composer:
        return self.app.chat.query_one(Composer)

    @property
    def transcript(self) -> Transcript:
        return self.app.chat.query_one(Transcript)

    @property
    def screen_text(self) -> str:
        """What the terminal shows, line by line."""
        width, height = self.app.size
        strips = self.app.screen._compositor.render_strips()
        return "\n".join(strip.text for strip in strips)[: (width + 1) * height]

    @property
    def status(self) -> str:
        line = self.app.chat.query_one(StatusLine)
        return line.lines(line.content_size.width)[0].plain

    def shown(self, id: str) -> bool:
        return bool(self.app.chat.query_one(id, Widget).display)

    async def mounted(self, pilot: Pilot[None]) -> None:
        """Let the app run until the chat can be used."""
        await self.until(pilot, lambda: bool(self.app.chat.query(Composer)) and self.composer.has_focus)

    async def ask(self, pilot: Pilot[None], text: str) -> None:
        self.composer.text = text
        await pilot.press("enter")

    async def until(self, pilot: Pilot[None], condition: Callable[[], bool]) -> None:
        """Let the app run until `condition` holds."""
        async with asyncio.timeout(20):
            while not condition():
                await pilot.pause(0.01)

    async def ended(self, pilot: Pilot[None]) -> None:
        """Let the app run until no answer streams and the screen shows it."""
        await self.until(pilot, lambda: self.app.chat.worker.turn is None)
        await pilot.pause(0.1)


@pytest.fixture
def history() -> Iterator[History]:
    history = History(None)
    yield history
    history.close()


@pytest.fixture
def chat(history: History) -> Chat:
    return Chat(history)


@pytest.fixture(autouse=True)
def no_desktop(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test may put anything on the clipboard of the person who runs it."""
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setenv("SSH_TTY", "/dev/pts/0")
