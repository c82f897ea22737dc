"""What the panel shows against an independent clock: Enter on a real terminal, the first token on a real socket."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import pytest

from backends.backend import ChatRequest
from backends.events import Done, Event, Meta, Status, Token
from backends.telemetry.stages import Span, Stage
from backends.telemetry.summary import account
from backends.telemetry.timeline import Timeline
from tests.fakes.scripted import Scripted
from tests.journey.scripted_server import serving
from tests.journey.terminal import CTRL_Q, ENTER, Terminal
from tui.history.history import History

STAGES: dict[Stage, float] = {"retrieval": 80.0, "provider_queue": 40.0, "prefill": 150.0}
CLOSE_MS = 20.0
TURNS = 5


class Paced(Scripted):
    """Takes `STAGES` milliseconds, measured, before its first token; `left` is when that left, on `time.monotonic`."""

    def __init__(self) -> None:
        super().__init__()
        self.left: list[float] = []

    async def _play(self) -> AsyncGenerator[Event, None]:
        begun = time.monotonic()
        spans = []
        for status, stage in (("retrieving", "retrieval"), ("queued", "provider_queue"), ("prefilling", "prefill")):
            yield Status(status)  # type: ignore[arg-type]
            at = time.monotonic()
            await asyncio.sleep(STAGES[stage] / 1000)  # type: ignore[index]
            spans.append(Span(stage, 1000 * (at - begun), 1000 * (time.monotonic() - at)))  # type: ignore[arg-type]
        yield Meta(latency=1000 * (time.monotonic() - begun), spans=tuple(spans))
        self.left.append(time.monotonic())
        yield Token(f"Answer number {len(self.left)}.")
        yield Done(1, 1000 * (time.monotonic() - begun))


def shown_ttft(screen: str) -> float:
    """The TTFT in the panel, in milliseconds."""
    found = re.search(r"TTFT\s+~?([\d.]+) ms", screen)
    assert found, screen
    return float(found[1])


def test_the_shown_ttft_is_what_passed_outside_and_the_account_adds_up(
    open_terminal: Callable[..., Terminal], home: dict[str, str], tmp_path: Path
) -> None:
    """On a busy machine a turn may be late by itself; that the client's clock is right shows in the best of a few."""
    shown, passed = [], []
    backend = Paced()
    with serving(backend) as server, open_terminal("--config", server.configuration(tmp_path)) as terminal:
        terminal.wait_for("Ask anything")
        for turn in range(1, TURNS + 1):
            terminal.send(f"Question {turn}?")
            terminal.wait_for(f"Question {turn}?")
            entered = time.monotonic()
            terminal.send(ENTER)
            screen = terminal.wait_for(f"Answer number {turn}.", "complete")
            passed.append(1000 * (backend.left[-1] - entered))
            shown.append(shown_ttft(screen))
        terminal.send(CTRL_Q)
        assert terminal.ended() == 0

    request: ChatRequest = backend.requests[-1]
    assert request.messages[-1].content == f"Question {TURNS}?"
    assert min(abs(a - b) for a, b in zip(shown, passed, strict=True)) <= CLOSE_MS, (shown, passed)

    with_history = History(Path(home["XDG_DATA_HOME"]) / "llmchat" / "history.sqlite")
    conversation = with_history.latest_conversation()
    assert conversation is not None
    answers = [message for message in with_history.thread(conversation) if message.role == "assistant"]
    with_history.close()
    timelines = [Timeline.load(message.timeline) for message in answers if message.timeline]
    assert len(timelines) == TURNS
    for timeline, on_screen in zip(timelines, shown, strict=True):
        ttft = timeline.first_token_ms
        assert ttft is not None
        assert round(ttft) == pytest.approx(on_screen, abs=1)
        bill = account(timeline.spans(ttft), ttft)
        parts = dict(bill.parts)
        assert sum(parts.values()) + bill.unattributed == pytest.approx(ttft)
        assert all(parts[stage] >= STAGES[stage] - 1 for stage in STAGES)
    assert min(account(each.spans(1e9), each.first_token_ms or 0).unattributed for each in timelines) <= CLOSE_MS
