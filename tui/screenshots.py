"""`make screenshots`: the pictures of the README, drawn by the real app with the real demo model.

    python -m tui.screenshots FOLDER        writes FOLDER/*.svg and *.png; needs the extra `screenshots`

Answers are greedy, and a stream can be held at a chosen token while the clock stands still: a picture of a moment then
depends on the model only. The latencies on it are this machine's.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from importlib.util import find_spec
from pathlib import Path

import msgspec
from textual.pilot import Pilot

from backends import config, providers
from backends.backend import Backend, ChatRequest, Sampling
from backends.config import ConfigFile
from backends.events import Event, Token
from tui.app import LlmChat
from tui.history.history import History
from tui.target import Target, chosen
from tui.widgets.composer import Composer

PATIENCE = 120.0
"""Seconds that a model may take to load or to answer."""

SETTLED = 0.5
"""Seconds after which the screen has drawn what it knows."""

QUESTION = "Can I pause my annual subscription?"
LONG_QUESTION = "Walk me through changing the payment card, step by step."
NOBODY = "http://127.0.0.1:9/v1"  # the discard port: nothing listens there
CONFIG_SHOWN = Path("~/.config/llmchat/config.toml")


class Held:
    """A backend around another one whose stream stops behind `at` tokens, where `clock` stops, too."""

    def __init__(self, inner: Backend) -> None:
        self._inner = inner
        self._frozen: float | None = None
        self.at: int | None = None
        self.warmed = asyncio.Event()
        self.reached = asyncio.Event()

    def clock(self) -> float:
        """Seconds; for the app."""
        return time.monotonic() if self._frozen is None else self._frozen

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        """The inner backend's greedy answer."""
        greedy = msgspec.structs.replace(request, sampling=Sampling(temperature=0.0))
        tokens = 0
        async with aclosing(self._inner.stream(greedy)) as events:
            async for event in events:
                yield event
                tokens += event.count if isinstance(event, Token) else 0
                if self.at is not None and tokens >= self.at:
                    self._frozen = time.monotonic()
                    self.reached.set()
                    await asyncio.get_running_loop().create_future()
        self.reached.set()

    async def warm(self, request: ChatRequest) -> None:
        """Pass the hint on, and tell when it was taken."""
        await self._inner.warm(request)
        self.warmed.set()

    async def aclose(self) -> None:
        """Close the inner backend."""
        await self._inner.aclose()


class Stage:
    """The running app, driven by its keys."""

    def __init__(self, app: LlmChat, pilot: Pilot[None], backend: Held) -> None:
        self._app = app
        self._pilot = pilot
        self._backend = backend

    async def ready(self) -> None:
        """Wait until the backend is warm."""
        async with asyncio.timeout(PATIENCE):
            await self._backend.warmed.wait()
        await self._settle()

    async def press(self, *keys: str) -> None:
        """Press keys, and let the screen follow."""
        await self._pilot.press(*keys)
        await self._settle()

    async def ask(self, question: str) -> None:
        """Type `question` and wait for the end of its answer."""
        await self._send(question)
        async with asyncio.timeout(PATIENCE):
            while self._app.chat.worker.turn is not None:  # noqa: ASYNC110  (the app tells nobody else)
                await asyncio.sleep(0.02)
        await self._settle()

    async def ask_and_hold(self, question: str, tokens: int) -> None:
        """Type `question` and stop its answer behind `tokens` tokens."""
        self._backend.reached.clear()
        self._backend.at = tokens
        await self._send(question)
        async with asyncio.timeout(PATIENCE):
            await self._backend.reached.wait()
        await self._settle()
        if self._app.chat.worker.turn is None:
            raise SystemExit(f"the answer to {question!r} ended before token {tokens}: hold it earlier")

    async def _send(self, question: str) -> None:
        await self._pilot.press(*("space" if key == " " else key for key in question), "enter")

    async def _settle(self) -> None:
        await asyncio.sleep(SETTLED)
        await self._pilot.pause()


async def start(stage: Stage) -> None:
    """What a newcomer sees."""
    await stage.ready()


async def streaming(stage: Stage) -> None:
    """An answer on its way, with the latency panel."""
    await stage.ready()
    await stage.ask(QUESTION)
    await stage.ask_and_hold(LONG_QUESTION, 40)


async def citations(stage: Stage) -> None:
    """A complete answer and the passage behind it."""
    await stage.ready()
    await stage.ask(QUESTION)
    await stage.press("f3")


async def cancelled(stage: Stage) -> None:
    """Esc in mid-answer."""
    await stage.ready()
    await stage.ask_and_hold(LONG_QUESTION, 24)
    await stage.press("escape")


async def error(stage: Stage) -> None:
    """A server that is not there."""
    await stage.ask(QUESTION)


async def small(stage: Stage) -> None:
    """The size of a classic terminal."""
    await stage.ready()
    await stage.ask(QUESTION)


Scene = Callable[[Stage], Awaitable[None]]

DEMO = Target()
SCENES: dict[str, tuple[Scene, Target, tuple[int, int]]] = {
    "start": (start, DEMO, (112, 32)),
    "streaming": (streaming, DEMO, (112, 32)),
    "citations": (citations, DEMO, (112, 32)),
    "cancelled": (cancelled, DEMO, (112, 32)),
    "error": (error, Target(url=NOBODY, model="my-model"), (112, 32)),
    "80x24": (small, DEMO, (80, 24)),
}


async def svg(scene: Scene, file: ConfigFile, size: tuple[int, int]) -> str:
    """The screen at the end of `scene`."""
    backend = Held(providers.open_backend(file))
    history = History()
    with contextlib.closing(history):
        app = LlmChat(
            config=file.config,
            open_backend=lambda name: backend,
            backend_name=file.config.backend,
            history=history,
            config_path=CONFIG_SHOWN,
            clock=backend.clock,
        )
        async with app.run_test(size=size) as pilot:
            app.query_one(Composer).cursor_blink = False
            await scene(Stage(app, pilot, backend))
            return self_contained(app.export_screenshot(title="llmchat"))


def self_contained(picture: str) -> str:
    """`picture` with fonts by name only (as Textual draws it, it would fetch them) and its last line uncut."""
    picture = re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)
    picture = re.sub(
        r'(clip-terminal">\s*<rect [^>]*height=")([\d.]+)', lambda m: f"{m[1]}{float(m[2]) + 4:.1f}", picture
    )
    return re.sub(r"font-family: [^;]*;", "font-family: 'Fira Code', 'DejaVu Sans Mono', monospace;", picture)


def png(picture: str) -> bytes:
    """`picture` (an SVG of Textual's) drawn with a font that has box and block characters, on any machine.

    The font's lines are a little lower than those of the picture, which would show as seams in every frame: letters
    are drawn 5 % larger and moved so that the cells touch.
    """
    import resvg_py  # a renderer in a wheel; the fonts are those that matplotlib ships

    spec = find_spec("matplotlib")
    assert spec is not None
    assert spec.origin is not None
    fonts = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"
    picture = picture.replace("font-size: 20px", "font-size: 21px").replace("'Fira Code', ", "")
    picture = re.sub(r'(-r\d+" x="[\d.]+" y=")([\d.]+)', lambda m: f"{m[1]}{float(m[2]) + 0.9:.1f}", picture)
    return bytes(
        resvg_py.svg_to_bytes(
            svg_string=picture,
            zoom=1.25,
            skip_system_fonts=True,
            font_files=[str(font) for font in sorted(fonts.glob("DejaVuSans*.ttf"))],
            font_family="DejaVu Sans Mono",
            monospace_family="DejaVu Sans Mono",
        )
    )


def main(folder: Path, names: list[str]) -> None:
    """Draw the scenes `names` (all where there are none) into `folder`."""
    folder.mkdir(exist_ok=True)
    for name in names or SCENES:
        scene, target, size = SCENES[name]
        print(name, flush=True)
        picture = asyncio.run(svg(scene, chosen(config.parse(""), target), size))
        (folder / f"{name}.svg").write_text(picture, "utf-8")
        (folder / f"{name}.png").write_bytes(png(picture))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
