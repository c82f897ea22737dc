"""Turns as the transcript shows them: the worker's view, and the same for turns that come from the history."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from backends.config import Budget
from backends.events import Status
from backends.telemetry.explain import slow_first_token, slow_generation
from backends.telemetry.timeline import Timeline
from tui.history.conversation import CONTINUABLE, Turn
from tui.transcript.message_head import Version
from tui.transcript.transcript import Transcript
from tui.widgets.plain import plain
from tui.widgets.wording import describe


class TranscriptView:
    """Writes turns into a `Transcript`. Implements `AnswerView`; `on_end` is called when an answer has ended."""

    def __init__(
        self,
        transcript: Transcript,
        budget: Budget,
        on_end: Callable[[Turn], None],
        earlier: Callable[[Turn], Timeline | None] = lambda turn: None,
        *,
        named: bool = True,
    ) -> None:
        """`earlier`: the run whose prompt the cache may have held. `named`: an answer's backend stands over it."""
        self._earlier = earlier
        self._named = named
        self._transcript = transcript
        self._budget = budget
        self._on_end = on_end
        self._shown: set[str] = set()  # keys of answers and errors that are in the transcript
        self._waiting = False
        self.status: Status | None = None
        """What the running answer waits for; None before its first status."""

    def show(self, turn: Turn) -> None:
        """Add a turn that is complete in itself: a question, or an answer from the history."""
        key = message_key(turn)
        if turn.role == "user":
            self._transcript.add("user", turn.content, key=key)
            self._number(turn)
            return
        self._transcript.add("assistant", turn.content, key=key, title=self._title(turn))
        self._number(turn)
        if turn.reasoning:
            self._transcript.append_reasoning(key, turn.reasoning)
        self._transcript.set_citations(key, turn.citations)
        self._shown.add(key)
        self._show_ending(turn)

    def clear(self) -> None:
        """Take everything off the screen."""
        self._transcript.clear()
        self._shown.clear()

    def cut(self, turn: Turn) -> None:
        """Take a turn and all that followed it off the screen."""
        for key in (message_key(turn), _error_key(turn)):
            if self._transcript.holds(key):
                self._transcript.cut(key)
        self._shown = {key for key in self._shown if self._transcript.holds(key)}

    def begin(self, turn: Turn) -> None:
        """An answer starts, or goes on where it was cut."""
        self.status = None
        self.forget(turn)
        self._add(turn)
        self._wait(turn, "waiting for the backend")

    def forget(self, turn: Turn) -> None:
        """Take an answer and its error off the screen."""
        for key in (message_key(turn), _error_key(turn)):
            self._remove(key)

    def answer_status(self, turn: Turn, status: Status) -> None:
        """See `AnswerView`."""
        is_first, self.status = self.status is None, status
        if is_first and status.status == "waiting":
            return  # the screen has said so since Enter, and a frame now would hold up the first token's
        begun = turn.timeline is not None and turn.timeline.first_token_ms is not None
        if not begun or status.status == "connecting":  # a connection that is lost may be lost in the midst of the text
            self._wait(turn, describe(status))

    def answer_text(self, turn: Turn, piece: str) -> None:
        """See `AnswerView`."""
        if self._waiting:
            self._wait(turn, None)
        self._transcript.append(message_key(turn), piece)

    def answer_reasoning(self, turn: Turn, piece: str) -> None:
        """See `AnswerView`."""
        if self._waiting:
            self._wait(turn, None)
        self._transcript.append_reasoning(message_key(turn), piece)

    def answer_citations(self, turn: Turn) -> None:
        """See `AnswerView`."""
        self._transcript.set_citations(message_key(turn), turn.citations)

    def when_shown(self, callback: Callable[[], None]) -> None:
        """See `AnswerView`."""
        self._transcript.when_shown(callback)

    def answer_ended(self, turn: Turn) -> None:
        """See `AnswerView`."""
        self._show_ending(turn)
        self._on_end(turn)

    def _add(self, turn: Turn) -> None:
        """An answer as one that streams, with what it has already."""
        key = message_key(turn)
        self._transcript.add("assistant", key=key, title=self._title(turn))
        self._number(turn)
        if turn.reasoning:
            self._transcript.append_reasoning(key, turn.reasoning)
        self._transcript.append(key, turn.content)
        self._transcript.set_citations(key, turn.citations)
        self._shown.add(key)

    def _number(self, turn: Turn) -> None:
        """Show which of its versions a turn is."""
        if (count := len(turn.siblings)) > 1:
            number = turn.siblings.index(turn.id) + 1
            self._transcript.set_version(message_key(turn), Version(number, count))

    def _remove(self, key: str) -> None:
        if key in self._shown:
            self._shown.remove(key)
            self._transcript.remove_message(key)

    def _wait(self, turn: Turn, words: str | None) -> None:
        self._waiting = words is not None
        self._transcript.set_waiting(message_key(turn), words)

    def _show_ending(self, turn: Turn) -> None:
        key = message_key(turn)
        failed = turn.outcome in ("failed", "interrupted")
        error = turn.timeline.error if failed and turn.timeline else None
        if turn.outcome == "failed" and not (turn.content or turn.reasoning):
            self._remove(key)  # the error below says it all
        else:
            self._transcript.finish(key, "interrupted" if turn.outcome == "running" else turn.outcome)
            self._transcript.set_note(key, partial(self._note, turn))
        if error is not None:
            self._shown.add(_error_key(turn))
            again = "Ctrl+G to go on from here, Ctrl+R to ask again" if turn.content else "Ctrl+R to retry"
            if error.retry_after:
                again += f" (the server asks to wait {error.retry_after:.0f} s)"
            self._transcript.add("error", f"{plain(error.message)}\n{error.code} · {again}", key=_error_key(turn))

    def _title(self, turn: Turn) -> str:
        return plain(turn.backend) if self._named else ""

    def _note(self, turn: Turn) -> str | None:
        slow = self._why_slow(turn, turn.timeline) if turn.timeline else None
        detail = turn.timeline.detail if turn.timeline else None
        cut = "Ctrl+G continues" if turn.outcome in CONTINUABLE and turn.content and not detail else None
        return " · ".join(part for part in (detail, cut, slow) if part) or None

    def _why_slow(self, turn: Turn, timeline: Timeline) -> str | None:
        return slow_first_token(timeline, self._budget.ttft_ms, self._earlier(turn)) or slow_generation(timeline)


def message_key(turn: Turn) -> str:
    """The key of a turn's message in the transcript."""
    return f"turn-{turn.id}"


def _error_key(turn: Turn) -> str:
    return f"error-{turn.id}"
