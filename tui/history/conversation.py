"""The conversation on the screen: the path through the tree of messages from the root to the newest one.

It knows no widget. What it changes it writes to the `History` at once; what a backend is sent comes from here.
"""

from __future__ import annotations

import logging

import msgspec

from backends.backend import Message, Role
from backends.events import Citation
from backends.telemetry.timeline import Outcome, Timeline
from tui.history.history import History
from tui.history.message_table import StoredMessage

log = logging.getLogger(__name__)

CONTINUABLE: tuple[Outcome, ...] = ("truncated", "cancelled", "interrupted")
"""How an answer has to have ended for "continue" to make sense."""


class Turn:
    """One message of the path; an answer's fields fill while it streams.

    `reasoning` is what was thought before an answer. `siblings` are the ids of the turns that stand, or stood, in this
    one's place, itself included, oldest first: questions before they were edited, answers before a retry.
    `sources` (of a user turn) are the passages that went into its prompt, `citations` (of an answer) those that its
    text uses. `timeline` is that of the answer's last run: a continued answer has the continuation's.
    """

    def __init__(self, id: str, parent: str | None, role: Role, content: str, backend: str = "") -> None:
        self.id = id
        self.parent = parent
        self.role = role
        self.content = content
        self.reasoning = ""
        self.siblings: tuple[str, ...] = (id,)
        self.backend = backend
        self.model = ""
        self.outcome: Outcome = "complete"
        self.sources: tuple[Citation, ...] = ()
        self.citations: tuple[Citation, ...] = ()
        self.stored_timeline: bytes | None = None
        self._timeline: Timeline | None = None

    @property
    def timeline(self) -> Timeline | None:
        """Read from what is stored when it is first asked for."""
        if self.stored_timeline is not None:
            stored, self.stored_timeline = self.stored_timeline, None
            try:
                self._timeline = Timeline.load(stored)
            except msgspec.DecodeError:
                log.warning("message %s: its timeline cannot be read and is left out", self.id)
        return self._timeline

    @timeline.setter
    def timeline(self, timeline: Timeline | None) -> None:
        self.stored_timeline, self._timeline = None, timeline


class Conversation:
    """The turns from root to leaf, and the history behind them."""

    def __init__(self, history: History, id: str | None = None) -> None:
        """Continue the stored conversation `id`, or begin a new one; a new one is stored with its first question."""
        self.history = history
        self.id = id
        self.turns: list[Turn] = []
        self._restore()

    def _restore(self) -> None:
        """Read the path that was chosen last."""
        if self.id is not None:
            self.turns = [_restored(message) for message in self.history.thread(self.id)]
            forks = self.history.forks(self.id)
            for turn in self.turns:
                others = {*forks.get(turn.parent, ()), turn.id}
                turn.siblings = tuple(sorted(others, key=int))

    @property
    def answer(self) -> Turn | None:
        """The newest turn, if it is an answer."""
        return self.turns[-1] if self.turns and self.turns[-1].role == "assistant" else None

    @property
    def question(self) -> Turn | None:
        """The newest user turn."""
        return next((turn for turn in reversed(self.turns) if turn.role == "user"), None)

    @property
    def can_continue(self) -> bool:
        """Whether the newest answer was cut and has text to go on from."""
        answer = self.answer
        return answer is not None and bool(answer.content) and answer.outcome in CONTINUABLE

    def earlier(self, answer: Turn) -> Timeline | None:
        """Of the answers before `answer` the newest one's run by the same backend: its cache may hold that prompt."""
        asked = (turn for turn in reversed(self.turns) if turn.role == "assistant" and int(turn.id) < int(answer.id))
        return next((turn.timeline for turn in asked if turn.backend == answer.backend and turn.timeline), None)

    def ask(self, text: str, backend: str) -> Turn:
        """Add a user turn."""
        if self.id is None:
            self.id = self.history.create_conversation(backend)
        return self._add("user", text, backend)

    def begin_answer(self, backend: str) -> Turn:
        """Add an empty answer under the newest user turn; an answer that was there stays in the tree as a sibling."""
        question = self.question
        if question is None:
            raise ValueError("an answer needs a question")
        del self.turns[self.turns.index(question) + 1 :]
        return self._add("assistant", "", backend)

    def rewind(self, turn: Turn) -> None:
        """Leave the path right before `turn`: what is asked next becomes its sibling."""
        del self.turns[self.turns.index(turn) :]

    def choose(self, turn: Turn, sibling: str) -> None:
        """Take the path through `sibling` of `turn`, to the newest of what followed it; it is the one that goes on."""
        if self.id is not None and sibling in turn.siblings:
            self.history.choose(self.id, sibling)
            self._restore()

    def attach_sources(self, answer: Turn, passages: tuple[Citation, ...]) -> None:
        """Keep the passages that went into the prompt of `answer` with the question it answers."""
        for turn in self.turns:
            if turn.id == answer.parent:
                turn.sources = passages
                self.history.update_message(turn.id, sources=passages)

    def save(self, answer: Turn) -> None:
        """Write `answer` as it stands."""
        self.history.update_message(
            answer.id,
            content=answer.content,
            reasoning=answer.reasoning,
            outcome=answer.outcome,
            citations=answer.citations,
            model=answer.model,
        )

    def record(self, answer: Turn) -> None:
        """Keep the timeline of `answer`, which has ended."""
        if answer.timeline is not None:
            self.history.record(answer.id, answer.timeline)

    def messages(self) -> tuple[Message, ...]:
        """What a backend is sent: the path up to the newest question.

        An earlier question whose answer failed or was cancelled before its first word is left out with it: chat
        templates want roles to alternate. Sources stay with the turn they were found for, verbatim, so that the prompt
        only ever grows at its end.
        """
        question = self.question
        if question is None:
            return ()
        return (*_as_messages(self.turns[: self.turns.index(question)]), _as_message(question))

    def messages_with_draft(self, draft: str) -> tuple[Message, ...]:
        """What a backend would be sent if `draft` were asked now: the prefix worth warming."""
        answered = _as_messages(self.turns)
        return (*answered, Message("user", draft)) if draft else answered

    def _add(self, role: Role, text: str, backend: str) -> Turn:
        assert self.id is not None
        parent = self.turns[-1].id if self.turns else None
        turn = Turn(self.history.add_message(self.id, parent, role, text, backend=backend), parent, role, text, backend)
        turn.siblings = tuple(self.history.siblings(turn.id))
        if role == "assistant":
            turn.outcome = "running"
        self.turns.append(turn)
        return turn


def _as_messages(turns: list[Turn]) -> tuple[Message, ...]:
    """The turns that belong together: answers that have text, and the questions of those."""
    answered = {turn.parent for turn in turns if turn.role == "assistant" and turn.content}
    kept = (turn for turn in turns if turn.content and (turn.role != "user" or turn.id in answered))
    return tuple(_as_message(turn) for turn in kept)


def _as_message(turn: Turn) -> Message:
    return Message(turn.role, turn.content, turn.sources)


def _restored(message: StoredMessage) -> Turn:
    turn = Turn(message.id, message.parent, message.role, message.content, message.backend)
    turn.model, turn.outcome, turn.reasoning = message.model, message.outcome, message.reasoning
    turn.sources, turn.citations = message.sources, message.citations
    turn.stored_timeline = message.timeline or None
    return turn
