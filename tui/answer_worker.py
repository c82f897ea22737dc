"""The bridge between a `Backend` and the screen: one answer at a time, and the one cancel.

It reads the backend's events, stamps them on the turn's `Timeline` (0 is the moment that Enter was handled), tells the
view what came, and has the turn saved about twice a second. It knows no widget and no Textual.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Protocol

from backends.backend import Backend, ChatRequest
from backends.errors import BackendError, Code
from backends.events import Citation, Error, Event, Meta, Reasoning, Status, Token
from backends.telemetry.timeline import Asked, Outcome, Timeline
from tui import log_file
from tui.history.conversation import Turn

log = logging.getLogger(__name__)

SAVE_EVERY = 0.5
"""Seconds of streamed text that a killed process may lose."""

CLOSE_WITHIN = 3.0
"""Seconds after which a backend that still tidies up after a cancel is interrupted in that, too."""

_CUT = Error(Code.INTERRUPTED, "The stream stopped before the answer was complete", retryable=True)


class AnswerView(Protocol):
    """What the worker tells the screen. Calls come from the event loop, in order, and must not block."""

    def answer_status(self, turn: Turn, status: Status) -> None:
        """The backend waits for something."""

    def answer_text(self, turn: Turn, piece: str) -> None:
        """More text; `turn.content` is brought up to date when it is saved and at the end."""

    def answer_reasoning(self, turn: Turn, piece: str) -> None:
        """More thinking text, which is not part of the answer but of `turn.reasoning`."""

    def answer_citations(self, turn: Turn) -> None:
        """`turn.citations` has grown."""

    def when_shown(self, callback: Callable[[], None]) -> None:
        """Call `callback` once, when what came until now stands on the screen."""

    def answer_ended(self, turn: Turn) -> None:
        """`turn.outcome` and `turn.timeline` are final. After a cancel this comes before the backend has let go."""


class AnswerStore(Protocol):
    """Where turns are kept."""

    def save(self, answer: Turn) -> None:
        """Write the answer as it stands."""

    def record(self, answer: Turn) -> None:
        """Keep the timeline of the answer, which has ended; must not block."""

    def attach_sources(self, answer: Turn, passages: tuple[Citation, ...]) -> None:
        """Keep the passages that were found for the question of `answer`."""


class Run:
    """One answer on its way: where it goes, and what of it is not saved yet."""

    def __init__(self, turn: Turn, timeline: Timeline, store: AnswerStore, entered: float) -> None:
        self.turn = turn
        self.timeline = timeline
        self.store = store
        self.entered = entered
        self.pieces: list[str] = []
        self.thoughts: list[str] = []
        self.saver: asyncio.TimerHandle | None = None
        self.reader: asyncio.Task[None] | None = None
        self.left = asyncio.Event()  # the request has, as far as that can be told, or it never will

    @property
    def ended(self) -> bool:
        return self.timeline.outcome != "running"

    async def has_left(self, patience: float) -> None:
        """Returns when the request has left, but after `patience` seconds at the latest."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self.left.wait()

    def save(self) -> None:
        self.saver = None
        self.turn.content += "".join(self.pieces)
        self.turn.reasoning += "".join(self.thoughts)
        self.pieces.clear()
        self.thoughts.clear()
        self.store.save(self.turn)

    def save_soon(self) -> None:
        if self.saver is None:
            self.saver = asyncio.get_running_loop().call_later(SAVE_EVERY, self.save)


class AnswerWorker:
    """Runs answers, one at a time. `output_price`: what a million tokens of a backend's answers cost, by its name."""

    def __init__(
        self,
        view: AnswerView,
        clock: Callable[[], float] = time.monotonic,
        output_price: Callable[[str], float] = lambda backend: 0.0,
    ) -> None:
        self._view = view
        self._output_price = output_price
        self._run: Run | None = None
        self.clock = clock

    @property
    def turn(self) -> Turn | None:
        """The answer that streams now; None from the moment that it ended or was cancelled."""
        return self._run.turn if self._run else None

    @property
    def elapsed_ms(self) -> float:
        """Milliseconds since Enter of the answer that streams now; 0 when none does."""
        return self._ms(self._run) if self._run else 0.0

    def begin(self, turn: Turn, store: AnswerStore, entered: float) -> Run:
        """Take on `turn` as the one answer; `stream` has to follow. `entered` is the moment of Enter on `clock`.

        Text that `turn` has already is kept: a continuation adds to it. From here on `cancel` works. Raises
        RuntimeError while another answer runs.
        """
        if self._run is not None:
            raise RuntimeError("one answer at a time")
        turn.timeline, turn.outcome = Timeline(), "running"
        self._run = Run(turn, turn.timeline, store, entered)
        if turn.content:
            self._run.save()
        return self._run

    async def stream(self, run: Run, backend: Callable[[], Awaitable[Backend]], request: ChatRequest) -> None:
        """Stream the answer to `request` into the turn of `run`; returns when it has ended and the backend let go.

        `backend` gives the backend once it is there (BackendError: it cannot be had). When this task is cancelled, the
        turn is saved as cancelled and the backend told.
        """
        if run.ended:
            return
        backend_name = run.turn.backend
        price = self._output_price(backend_name)
        run.timeline.messages = request.messages
        run.timeline.asked = Asked(backend_name, request.feature, request.token_limit, price)
        try:
            async with asyncio.TaskGroup() as group:
                run.reader = group.create_task(self._read(run, backend, request), name="answer")
        finally:
            self._end(run, "cancelled")

    def cancel(self) -> bool:
        """End the running answer as cancelled, now; False when none runs.

        The turn is final and saved when this returns; the backend's stream is closed right after, by the task that
        reads it, and nothing that it still says is heard.
        """
        run = self._run
        if run is None:
            return False
        self._end(run, "cancelled")
        if run.reader is not None:
            run.reader.cancel()
            asyncio.get_running_loop().call_later(CLOSE_WITHIN, run.reader.cancel)
        return True

    async def _read(self, run: Run, backend: Callable[[], Awaitable[Backend]], request: ChatRequest) -> None:
        """Read the stream to its end. The one place where any exception of a backend becomes an ending."""
        try:
            ready = await backend()
            run.timeline.call_ms = run.timeline.status_ms = self._ms(run)
            async with aclosing(ready.stream(request)) as events:
                async for event in events:
                    self._take(run, event)
                    if run.timeline.outcome == "cancelled":
                        return  # else read on to the end, so that the backend can keep its connection
            self._take(run, _CUT)
        except BackendError as error:
            self._take(run, error.event())
        except Exception:
            log.exception("while reading an answer from %s", run.turn.backend)
            where = f"llmchat failed while reading this answer; the details are in {log_file.path()}"
            self._take(run, Error(Code.INTERNAL, where))

    def _take(self, run: Run, event: Event) -> None:
        if run.ended:
            return
        was_silent = run.timeline.first_token_ms is None
        run.timeline.add(event, self._ms(run))
        if not (isinstance(event, Status) and event.status == "connecting"):
            run.left.set()  # whoever says anything else was asked, or will not be
        match event:
            case Token():
                run.pieces.append(event.text)
                run.save_soon()
                self._view.answer_text(run.turn, event.text)
            case Reasoning():
                run.thoughts.append(event.text)
                run.save_soon()
                self._view.answer_reasoning(run.turn, event.text)
            case Status():
                if event.passages:
                    run.store.attach_sources(run.turn, event.passages)
                self._view.answer_status(run.turn, event)
            case Citation():
                self._cite(run.turn, event)
            case Meta():
                run.turn.model = event.model or run.turn.model
        if was_silent and run.timeline.first_token_ms is not None:
            self._view.when_shown(lambda: run.timeline.shown(self._ms(run)))
        if run.ended:
            self._finish(run)

    def _cite(self, turn: Turn, citation: Citation) -> None:
        if all(known.id != citation.id for known in turn.citations):
            turn.citations = (*turn.citations, citation)
            self._view.answer_citations(turn)

    def _end(self, run: Run, outcome: Outcome) -> None:
        if not run.ended:
            run.timeline.end(outcome, self._ms(run))
            self._finish(run)

    def _finish(self, run: Run) -> None:
        """Save what is final and tell the view. Runs once per answer."""
        self._run = None
        run.left.set()
        run.turn.outcome = run.timeline.outcome
        if run.saver is not None:
            run.saver.cancel()
        run.save()
        run.store.record(run.turn)
        self._view.answer_ended(run.turn)

    def _ms(self, run: Run) -> float:
        return 1000 * (self.clock() - run.entered)
