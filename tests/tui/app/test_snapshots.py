"""Pictures of the screen in states where no clock runs. `pytest --snapshot-update` renews them: look at them then."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

import pytest
from textual.pilot import Pilot

from backends.events import Done, Error, Event, Meta, Reasoning, Status, Token
from backends.telemetry.timeline import Timeline
from tests.fakes.scripted import Hold
from tests.tui.app.conftest import PAUSE, REFUND, Chat
from tui.history.history import History

Compare = Callable[..., bool]
Before = Callable[[Pilot[None]], Awaitable[None]]

WORDS = (
    "Yes. An **annual** subscription can be paused ",
    "once per term, for up to 90 days [S1].\n\n",
    "1. Open *Billing* and choose `Pause subscription`.\n",
    "2. Pick the day on which the pause begins.\n",
    "3. Confirm.\n\n",
    "Refunds that are due are still sent within five business days [S2].\n",
)
STAGES: tuple[tuple[Event, float], ...] = (
    (Status("connecting"), 12),
    (Status("retrieving", 1, 3), 48),
    (Status("reranking", 2, 3), 61),
    (Status("assembling", 3, 3), 5),
    (Status("prefilling", total=812, done=640, cached=640), 240),
    (Status("generating"), 14),
)
USAGE = Meta(
    model="billing-7m",
    prompt_tokens=812,
    cached_tokens=640,
    completion_tokens=61,
    draft_tokens=90,
    accepted_tokens=66,
    kv_used=873,
    kv_cells=4096,
    kv_bytes_per_token=7680,
)


class Paced(Chat):
    """A chat whose backend takes exactly the time that its script says, on the app's clock."""

    def paces(self, *script: tuple[Event | Hold, float]) -> None:
        clock = self.clock

        async def play() -> object:
            for event, ms in script:
                if isinstance(event, Hold):
                    await event.wait()
                else:
                    yield event
                clock.advance(ms)

        self.demo._play = play  # type: ignore[method-assign, assignment]

    async def settled(self, pilot: Pilot[None]) -> None:
        await self.mounted(pilot)
        self.composer.cursor_blink = False
        await self.until(pilot, lambda: "opening" not in self.status and "warming" not in self.status)
        await pilot.pause(0.3)


def size_name(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


@pytest.fixture
def paced(monkeypatch: pytest.MonkeyPatch) -> Iterator[Paced]:
    monkeypatch.setattr(Timeline, "shown", lambda *_: None)  # when a frame comes is the machine's affair
    history = History(None)
    yield Paced(history)
    history.close()


def whole_answer(*end: tuple[Event | Hold, float]) -> list[tuple[Event | Hold, float]]:
    words: list[tuple[Event | Hold, float]] = [(Token(words, 10), 47) for words in WORDS]
    return [*STAGES, *words, (PAUSE, 0), (REFUND, 0), (USAGE, 3), *(end or ((Done(61, 660.0), 0),))]


def asked(chat: Paced, *keys: str) -> Before:
    async def before(pilot: Pilot[None]) -> None:
        await chat.mounted(pilot)
        await chat.ask(pilot, "Can I pause my annual subscription?")
        await chat.ended(pilot)
        await pilot.press(*keys)
        await chat.settled(pilot)

    return before


@pytest.mark.parametrize("size", [(40, 10), (80, 24), (120, 40)], ids=size_name)
def test_welcome(paced: Paced, snap_compare: Compare, size: tuple[int, int]) -> None:
    assert snap_compare(paced.app, terminal_size=size, run_before=paced.settled)


@pytest.mark.parametrize("size", [(40, 10), (80, 24), (120, 40), (200, 60)], ids=size_name)
def test_complete(paced: Paced, snap_compare: Compare, size: tuple[int, int]) -> None:
    paced.paces(*whole_answer())
    assert snap_compare(paced.app, terminal_size=size, run_before=asked(paced))


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=size_name)
def test_streaming(paced: Paced, snap_compare: Compare, size: tuple[int, int]) -> None:
    hold = Hold()
    script = whole_answer()
    paced.paces(*script[:9], (hold, 0))

    async def before(pilot: Pilot[None]) -> None:
        await paced.mounted(pilot)
        await paced.ask(pilot, "Can I pause my annual subscription?")
        await paced.until(pilot, hold.reached.is_set)
        await paced.settled(pilot)

    assert snap_compare(paced.app, terminal_size=size, run_before=before)


def test_slow(paced: Paced, snap_compare: Compare) -> None:
    paced.paces((Status("prefilling"), 1600), *whole_answer()[6:])
    assert snap_compare(paced.app, terminal_size=(80, 24), run_before=asked(paced))


def test_truncated(paced: Paced, snap_compare: Compare) -> None:
    paced.paces(*whole_answer((Done(61, 660.0, "length"), 0)))
    assert snap_compare(paced.app, terminal_size=(120, 40), run_before=asked(paced))


def test_failed(paced: Paced, snap_compare: Compare) -> None:
    message = "http://gpu-box:8000: nobody listens there. Start the server, or correct url in config.toml."
    paced.demo.unreached = error = Error("CONNECT", message, retryable=True)
    paced.paces((Status("connecting"), 30), (error, 0))
    assert snap_compare(paced.app, terminal_size=(80, 24), run_before=asked(paced))


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=size_name)
def test_cancelled(paced: Paced, snap_compare: Compare, size: tuple[int, int]) -> None:
    hold = Hold()
    paced.paces(*whole_answer()[:9], (hold, 0))

    async def before(pilot: Pilot[None]) -> None:
        await paced.mounted(pilot)
        await paced.ask(pilot, "Can I pause my annual subscription?")
        await paced.until(pilot, hold.reached.is_set)
        await pilot.press("escape")
        await paced.settled(pilot)

    assert snap_compare(paced.app, terminal_size=size, run_before=before)


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=size_name)
def test_sources(paced: Paced, snap_compare: Compare, size: tuple[int, int]) -> None:
    paced.paces(*whole_answer())
    assert snap_compare(paced.app, terminal_size=size, run_before=asked(paced, "f3"))


@pytest.mark.parametrize("size", [(40, 10), (120, 40)], ids=size_name)
def test_backends(paced: Paced, snap_compare: Compare, size: tuple[int, int]) -> None:
    assert snap_compare(paced.app, terminal_size=size, run_before=asked(paced, "f4"))


def test_numbers_line(paced: Paced, snap_compare: Compare) -> None:
    paced.paces(*whole_answer())
    assert snap_compare(paced.app, terminal_size=(120, 40), run_before=asked(paced, "f2", "f1", "escape"))


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=size_name)
def test_versions(paced: Paced, snap_compare: Compare, size: tuple[int, int]) -> None:
    """The second answer to an edited question, with a thought before it."""
    script = whole_answer()
    paced.paces(*script[:6], (Reasoning("They want to pause, so the plan matters."), 20), *script[6:])

    async def before(pilot: Pilot[None]) -> None:
        await paced.mounted(pilot)
        await paced.ask(pilot, "Can I pause?")
        await paced.ended(pilot)
        await pilot.press("f8", *" My plan is annual.", "enter")
        await paced.until(pilot, lambda: len(paced.demo.requests) == 2)
        await paced.ended(pilot)
        await pilot.press("ctrl+r")
        await paced.until(pilot, lambda: len(paced.demo.requests) == 3)
        await paced.ended(pilot)
        await paced.settled(pilot)

    assert snap_compare(paced.app, terminal_size=size, run_before=before)
