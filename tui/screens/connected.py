"""A conversation with one backend at a time: opened, warmed while somebody types, and exchanged for another one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from textual import on, work
from textual.timer import Timer

from backends.backend import ChatRequest, Message
from backends.config import Config
from backends.errors import BackendError
from tui.answer_worker import AnswerWorker
from tui.connection import Connection
from tui.screens.citing import CitingScreen
from tui.transcript.transcript import Transcript
from tui.widgets.composer import Composer
from tui.widgets.plain import plain
from tui.widgets.welcome import Welcome

if TYPE_CHECKING:
    from tui.screens.backends import ListModels

WARM_AFTER = 0.25
"""Seconds without a key after which the backend is told what is being typed."""


class ConnectedScreen(CitingScreen):
    """A screen around a conversation, a composer for the next question, and who answers it."""

    _config: Config
    _connection: Connection
    worker: AnswerWorker

    def __init__(self, transcript: Transcript) -> None:
        super().__init__(transcript)
        self._warming: Timer | None = None
        self.list_models: ListModels | None = None

    def _show_welcome(self, visible: bool) -> None:
        """Show the welcome in the transcript's place, or take it away."""
        raise NotImplementedError

    def _table(self) -> dict[str, Any]:
        return self._config.backends.get(self._connection.name, {})

    @work(group="prepare", exclusive=True)
    async def _prepare(self) -> None:
        """Open and warm the backend, after the first frame."""
        connection = self._connection
        await connection.prepare(self._request(self._conversation.messages_with_draft("")), self._update)
        if server := connection.server:
            self.query_one(Welcome).show_backend(connection.name, self._table() | {"type": server})
            self._say(f"found by asking: {server}")
        if connection.state == "failed" and self.worker.turn is None:
            self._show_welcome(False)
            self._transcript.add("error", f"{plain(connection.problem)}\nF4 switches to another backend")
        self._update()

    def _request(self, messages: tuple[Message, ...], **more: Any) -> ChatRequest:
        """A request to the model of this session."""
        return ChatRequest(messages, model=self._connection.model or None, **more)

    @work(group="switch", exclusive=True)
    async def switch_backend(self, name: str, model: str = "") -> None:
        """Go on with the backend `name`; `model` is kept for this session ("": the configured one)."""
        if (name, model) == (self._connection.name, self._connection.model) or self._busy():
            return
        if name == self._connection.name:
            self._connection.model = model
            self._say(f"the next answer is by {plain(model) if model else 'the configured model'}")
            return
        try:
            await self._connection.switch(name, model)
        except BackendError as error:
            self.notify(plain(error.message), title=f"{name} cannot be used", severity="error", markup=False)
            return
        self.query_one(Welcome).show_backend(name, self._table())
        if self._conversation.turns:
            self._transcript.add("notice", f"Going on with {plain(name)}")
        self._prepare()

    @on(Composer.Changed)
    def _typed(self) -> None:
        """Tell the backend what is being typed, once the typing pauses."""
        if self._warming is not None:
            self._warming.stop()
        self._warming = self.set_timer(WARM_AFTER, self._warm)

    @work(group="warm", exclusive=True)
    async def _warm(self) -> None:
        draft = self.query_one(Composer).text.strip()
        if draft and self.worker.turn is None:
            await self._connection.warm(self._request(self._conversation.messages_with_draft(draft)))
            self._update()

    def action_backends(self) -> None:
        """F4."""
        if self._busy():
            return
        from tui.screens.backends import BackendsScreen, Choice

        def chosen(choice: Choice | None) -> None:
            if choice is not None:
                self.switch_backend(choice.backend, choice.model)

        current = Choice(self._connection.name, self._connection.model)
        self.app.push_screen(BackendsScreen(self._config.backends, current, self.list_models), chosen)
