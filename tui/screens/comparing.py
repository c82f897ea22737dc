"""A conversation whose questions can go to several backends at once."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from textual import work

from backends.backend import ChatRequest
from tui.history.history import History
from tui.screens.connected import ConnectedScreen
from tui.transcript.transcript import Transcript
from tui.widgets.composer import Composer

if TYPE_CHECKING:
    from tui.screens.answer_column import AnswerColumn
    from tui.screens.compare import CompareScreen


class ComparingScreen(ConnectedScreen):
    """A screen around a conversation, with a composer for the next question."""

    _history: History

    def __init__(self, transcript: Transcript) -> None:
        super().__init__(transcript)
        self._comparison: CompareScreen | None = None

    def cancel_answer(self) -> bool:
        """Cancel what streams, here or beside each other; False when nothing does."""
        return self.worker.cancel() or (self._comparison is not None and self._comparison.cancel())

    @work(group="compare", exclusive=True)
    async def action_compare(self) -> None:
        """F12: what is in the composer, else the newest question, to several backends at once."""
        draft = self.query_one(Composer).text.strip()
        names = self._config.backends
        if self._busy():
            return
        if not draft and self._conversation.question is None:
            self._say("nothing to compare: write a question first")
            return
        if len(names) < 2:
            self._say("comparing needs a second backend in the configuration")
            return
        from tui.screens.compare import CompareScreen
        from tui.screens.compare_with import CompareWithScreen

        current = self._connection.name
        beside = next(name for name in names if name != current)
        chosen = await self.app.push_screen_wait(CompareWithScreen(names, (current, beside)))
        if not chosen:
            return
        messages = self._conversation.messages_with_draft(draft) if draft else self._conversation.messages()
        connections = [self._connection if name == current else self._connection.beside(name) for name in chosen]
        request = ChatRequest(messages, key=os.urandom(16).hex())
        try:
            screen = CompareScreen(request, connections, self._config, self._history, self.worker.clock)
            self._comparison = screen
            taken = await self.app.push_screen_wait(screen)
        finally:
            self._comparison = None
            opened = [connection for connection in connections if connection is not self._connection]
            await asyncio.gather(*(connection.aclose() for connection in opened))
        if taken is not None:
            self._take(draft, taken)

    def _take(self, draft: str, taken: AnswerColumn) -> None:
        """Put an answer into the conversation: to the question that was new, else beside the answer that there is."""
        if draft:
            self._leave_for_edited()
            self._show_welcome(False)
            self._view.show(self._conversation.ask(draft, taken.turn.backend))
            self.query_one(Composer).text = ""
        elif (answer := self._conversation.answer) is not None:
            self._view.forget(answer)
        turn = self._conversation.begin_answer(taken.turn.backend)
        made = taken.turn
        turn.content, turn.reasoning, turn.model = made.content, made.reasoning, made.model
        turn.outcome, turn.citations, turn.timeline = made.outcome, made.citations, made.timeline
        if taken.found:
            self._conversation.attach_sources(turn, taken.found)
        self._conversation.save(turn)
        self._conversation.record(turn)
        self._view.show(turn)
        self._update()
