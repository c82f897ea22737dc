"""One of several answers to the same question: its head, its text, and its waterfall."""

from __future__ import annotations

from collections.abc import Callable

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from backends.backend import ChatRequest
from backends.config import Budget
from backends.events import Citation
from tui.answer_worker import AnswerWorker, Run
from tui.connection import Connection
from tui.history.conversation import Turn
from tui.screens.answer_view import TranscriptView
from tui.transcript.transcript import Transcript
from tui.widgets.figures import shortened
from tui.widgets.latency_panel import TONE_COLOURS, LatencyPanel, Shape
from tui.widgets.plain import plain
from tui.widgets.waterfall import QUIET
from tui.widgets.wording import OUTCOME_WORDS


class AnswerColumn(Vertical):
    """Streams one answer; as an `AnswerStore` it keeps it in `turn` alone."""

    def __init__(
        self,
        number: int,
        connection: Connection,
        budget: Budget,
        fps: float,
        on_end: Callable[[Turn], None],
        clock: Callable[[], float],
        output_price: Callable[[str], float],
    ) -> None:
        """`number`: its key, from 1."""
        super().__init__(id=f"answer-{number}")
        self.turn = Turn(str(number), None, "assistant", "", connection.name)
        self.found: tuple[Citation, ...] = ()
        """The passages that were found for the question."""
        self.connection = connection
        self._number = number
        self._transcript = Transcript(fps=fps)
        self._panel = LatencyPanel(budget, headed=False)
        self._view = TranscriptView(self._transcript, budget, on_end, named=False)
        self._worker = AnswerWorker(self._view, clock, output_price)

    def compose(self) -> ComposeResult:
        """Textual's hook."""
        yield Static(classes="answer-head")
        yield self._transcript
        yield self._panel

    @property
    def is_running(self) -> bool:
        """Whether its answer is on its way."""
        return self._worker.turn is not None

    def begin(self, entered: float) -> Run:
        """Take on the answer; `stream` has to follow."""
        self._view.begin(self.turn)
        return self._worker.begin(self.turn, self, entered)

    async def stream(self, run: Run, request: ChatRequest) -> None:
        """Stream the answer to `request` to its end."""
        await self._worker.stream(run, self.connection.backend, request)

    def cancel(self) -> bool:
        """False when nothing streams."""
        return self._worker.cancel()

    def focus_text(self) -> None:
        """The keys go to its text."""
        self._transcript.focus()

    def take_shape(self, shape: Shape, lines: int) -> None:
        """What there is room for under the text."""
        self._panel.take(shape)
        self._panel.styles.height = lines

    @property
    def reached_ms(self) -> float:
        """How far its turn has come: to its end, or to now."""
        timeline = self.turn.timeline
        return timeline.end_ms if timeline is not None and timeline.end_ms is not None else self._worker.elapsed_ms

    def show(self, marks: tuple[str, ...], is_chosen: bool, axis: float) -> None:
        """Bring head and waterfall up to date. `marks`: what it was first at; `axis`: the time axis' end in ms."""
        self._panel.show(self.turn.timeline, self._worker.elapsed_ms, axis)
        word, tone = OUTCOME_WORDS[self.turn.outcome]
        head = Text().append(f" {self._number} ", "reverse" if is_chosen else "")
        head.append(f" {plain(self.turn.backend)}", "bold")
        head.append(f"  {word}", TONE_COLOURS[tone])
        for mark in marks:
            head.append(f"  {mark}", f"bold {TONE_COLOURS['good']}")
        room = self.size.width - 2
        if (left := room - head.cell_len - 2) > 1:
            head.append(f"  {shortened(plain(self.turn.model), left)}", QUIET)
        head.truncate(max(1, room), overflow="ellipsis")
        self.query_one(Static).update(head)

    # AnswerStore

    def save(self, answer: Turn) -> None:
        """See `AnswerStore`; what is not taken into the conversation is not kept."""

    def attach_sources(self, answer: Turn, passages: tuple[Citation, ...]) -> None:
        """See `AnswerStore`."""
        self.found = passages

    def record(self, answer: Turn) -> None:
        """See `AnswerStore`; whoever compares records it."""
