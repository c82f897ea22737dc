"""The chat: transcript, composer, status line and latency panel, and what their keys do."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, get_args

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Static

from backends.backend import ChatRequest
from backends.config import Config
from tui import garbage, log_file
from tui.alert_watch import AlertWatch
from tui.answer_worker import AnswerWorker, Run
from tui.connection import Connection
from tui.history.conversation import Conversation, Turn
from tui.history.history import History
from tui.screens.answer_view import TranscriptView
from tui.screens.chat_status import status_info
from tui.screens.comparing import ComparingScreen
from tui.screens.keys import chat_bindings
from tui.screens.layout import MINIMUM, Layout, PanelMode, SizeClass, lay_out, next_mode
from tui.transcript.transcript import Transcript
from tui.widgets.composer import Composer
from tui.widgets.latency_panel import LatencyPanel
from tui.widgets.plain import plain
from tui.widgets.status_line import StatusInfo, StatusLine
from tui.widgets.welcome import Welcome

TICK = 0.2
"""Seconds between two updates of panel and status line while an answer runs."""

HEAD_START = 0.01
"""Seconds that the request gets to leave, before the screen is laid out and painted."""

BREATH = 0.003
"""Seconds in which nothing is painted after that: a server on this machine may have been woken on our processor."""

REMARK = 4.0
"""Seconds that a remark stays in the status line."""


class ChatScreen(ComparingScreen):
    """One conversation with one backend at a time."""

    BINDINGS: ClassVar[list[BindingType]] = chat_bindings()

    def __init__(
        self,
        config: Config,
        connection: Connection,
        history: History,
        conversation: str | None,
        config_path: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(Transcript(fps=config.ui.fps, id="transcript"))
        self._config = config
        self._connection = connection
        self._history = history
        self._config_path = config_path
        self._conversation = Conversation(history, conversation)
        self._budget = config.budget("chat")
        self._mode: PanelMode = config.ui.panel
        self._open = False  # between mount and unmount
        self._strip = LatencyPanel(self._budget, id="strip")
        self._panel = LatencyPanel(self._budget, id="panel")
        self._status = StatusLine(StatusInfo(connection.name, state="opening", tone="busy"), id="status")
        self._resumed = False  # whether it was on top before
        self._layout: Layout | None = None
        self._remark = ""
        self._reported = ""  # the notice of the history that was shown
        self._insisted = False  # Enter was pressed while an answer ran: pressing it again cancels that answer
        self._view = TranscriptView(
            self._transcript, self._budget, self._ended, lambda turn: self._conversation.earlier(turn)
        )
        self._alerts = AlertWatch(history, config)
        self.worker = AnswerWorker(self._view, clock, config.output_price)

    # -- what is on the screen ---------------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        """Textual's hook. Laid out before anything is mounted: doing it later costs a second styling of everything."""
        name = self._connection.name
        layout = self._layout = lay_out(*self.app.size, self._mode)
        self.add_class(layout.size_class)
        with Horizontal(id="body"):
            with Vertical(id="main"):
                yield Welcome(name, self._table(), self._config_path, id="welcome")
                yield self._transcript
                yield self._strip.take(layout.strip)
                yield Composer(id="composer")
            yield self._panel.take(layout.side, layout.side_width)
        yield self._status
        yield Static(f"llmchat needs a larger window:\nat least {MINIMUM[0]} x {MINIMUM[1]}", id="too-small")

    def on_mount(self) -> None:
        """Textual's hook."""
        self._open = True
        self._ticker = self.set_interval(TICK, self._update, pause=True)
        self._lay_out()
        self._show_conversation()
        self.query_one(Composer).focus()
        self.call_after_refresh(self._remember_prompts)
        self._report_history()
        self.call_after_refresh(self._prepare)

    def _remember_prompts(self) -> None:
        self.query_one(Composer).prompts = reversed(self._history.prompts())

    def on_screen_resume(self, event: events.ScreenResume) -> None:
        """Textual's hook. What has only now been mounted is styled already; later, the theme may have changed."""
        event.refresh_styles = self._resumed
        self._resumed = True

    def on_unmount(self) -> None:
        """Textual's hook. What streams is saved as cancelled."""
        self._open = False
        self.worker.cancel()

    @on(events.DescendantFocus)
    @on(events.DescendantBlur)
    def _focus_moved(self) -> None:
        if self._open:
            self._update()

    def on_resize(self, event: events.Resize) -> None:
        """Textual's hook."""
        if self._open:
            self._lay_out()

    def on_key(self, event: events.Key) -> None:
        """Textual's hook. Whatever has the focus, what is typed goes into the composer."""
        composer = self.query_one(Composer)
        if event.is_printable and event.character and not composer.has_focus:
            event.stop()
            composer.focus()
            composer.insert(event.character)

    def _lay_out(self) -> None:
        layout = lay_out(self.app.size.width, self.app.size.height, self._mode)
        if layout == self._layout:  # setting a class costs a restyling of everything
            return
        self._layout = layout
        self._strip.take(layout.strip)
        self._panel.take(layout.side, layout.side_width)
        for size_class in get_args(SizeClass):
            self.set_class(size_class == layout.size_class, size_class)
        self._update()

    def _show_conversation(self) -> None:
        if self._transcript.searching:
            self.close_search()
        self._view.clear()
        for turn in self._conversation.turns:
            self._view.show(turn)
        self._show_welcome(not self._conversation.turns)
        self._update()

    def _show_welcome(self, visible: bool) -> None:
        self.query_one(Welcome).display = visible
        self._transcript.display = not visible

    def _update(self) -> None:
        """Bring panel and status line up to date."""
        if not self._open:  # an answer is cancelled by the app's closing, too
            return
        answer = self._conversation.answer
        running = self.worker.turn is not None
        for panel in (self._strip, self._panel):
            if panel.display:
                panel.show(answer.timeline if answer else None, self.worker.elapsed_ms)
        connection = self._connection
        info = status_info(
            connection.name,
            connection.state,
            answer,
            running=running,
            status=self._view.status,
            elapsed_ms=self.worker.elapsed_ms,
            problem=connection.problem,
            loading=connection.loading,
            remark=self._remark,
            reading=self._transcript.has_focus,
            model=connection.model,
        )
        self._status.show(info)

    def _say(self, remark: str) -> None:
        """Show `remark` in the status line for a while."""
        self._remark = remark
        self._update()

        def forget() -> None:
            if self._remark == remark:
                self._remark = ""
                self._update()

        self.set_timer(REMARK, forget)

    def _report_history(self) -> None:
        if self._history.notice != self._reported:
            self._reported = self._history.notice
            self.notify(plain(self._reported), title="History", severity="warning", markup=False)

    # -- asking ------------------------------------------------------------------------------------------------------

    @on(Composer.Submitted)
    async def _submitted(self, event: Composer.Submitted) -> None:
        entered = self.worker.clock()
        try:
            if self.worker.turn is not None and not self._insisted:
                self._insisted = True
                self.query_one(Composer).put_back(event.text)
                self._say("An answer is running: Esc cancels it, Enter again cancels it and sends this")
            else:
                with garbage.later():
                    await self._ask(event.text, entered)
        finally:
            event.taken.set()

    @on(Welcome.Asked)
    async def _sample_chosen(self, event: Welcome.Asked) -> None:
        self.query_one(Composer).focus()
        await self._ask(event.question, self.worker.clock())

    async def _ask(self, text: str, entered: float) -> None:
        self.worker.cancel()
        self._show_welcome(False)
        self._leave_for_edited()
        self._view.show(self._conversation.ask(text, self._connection.name))
        await self._answer(entered)

    async def _answer(self, entered: float) -> None:
        """Have the newest question answered."""
        turn = self._conversation.begin_answer(self._connection.name)
        await self._stream(turn, self._request(self._conversation.messages(), key=os.urandom(16).hex()), entered)

    async def _stream(self, turn: Turn, request: ChatRequest, entered: float) -> None:
        self._insisted, self._remark = False, ""
        with self._transcript.clock.held():
            self._view.begin(turn)
            run = self.worker.begin(turn, self._conversation, entered)
            self._read(run, request)
            await run.has_left(HEAD_START)
            await asyncio.sleep(BREATH)
        if self.worker.turn is not None:
            self._ticker.resume()  # it ticks at once, too
        self._update()

    @work(group="answer", description="an answer")  # Textual's own description would write out the whole request
    async def _read(self, run: Run, request: ChatRequest) -> None:
        await self.worker.stream(run, self._connection.backend, request)

    def _ended(self, turn: Turn) -> None:
        """An answer has ended, in whichever way."""
        self._insisted = False
        self._ticker.pause()
        if turn.timeline is not None:
            self._connection.answered(turn.timeline)
        if self._open:
            self._report_history()
            self._update()
            self._watch()

    @work(group="alerts", exclusive=True)
    async def _watch(self) -> None:
        """Say so when latencies or rates have become alarming."""
        if news := await self._alerts.news():
            self.notify(news, title="Alert", severity="warning", markup=False)

    # -- keys --------------------------------------------------------------------------------------------------------

    def action_help(self) -> None:
        """F1."""
        from tui.screens.help import HelpScreen  # the sheets are imported when one opens: not needed for the prompt

        self.app.push_screen(HelpScreen(self._config_path, log_file.path(), self._history.path))

    def action_conversations(self) -> None:
        """F10."""
        if self._busy():
            return
        from tui.screens.conversations import ConversationsScreen

        screen = ConversationsScreen(self._history, self._conversation.id)

        def left(chosen: str | None) -> None:
            if chosen is not None and chosen != self._conversation.id:
                self._open_conversation(chosen)
            elif self._conversation.id in screen.deleted:
                self._open_conversation(None)

        self.app.push_screen(screen, left)

    def action_statistics(self) -> None:
        """F9."""
        from tui.screens.statistics import StatisticsScreen

        self.app.push_screen(StatisticsScreen(self._history, self._config))

    def action_cycle_panel(self) -> None:
        """F2."""
        self._mode = next_mode(self._mode)
        self._lay_out()
        self._say(f"latency panel: {self._mode}")

    def _busy(self) -> bool:
        """Whether an answer streams; says so."""
        if self.worker.turn is None:
            return False
        self._say("an answer is running: Esc cancels it")
        return True

    async def action_continue_answer(self) -> None:
        """Ctrl+G: go on where the newest answer was cut, in the same message."""
        answer = self._conversation.answer
        if answer is None or not self._conversation.can_continue:
            self._say("nothing to continue: the last answer is complete")
            return
        request = self._request(self._conversation.messages(), continue_from=answer.content, key=os.urandom(16).hex())
        await self._stream(answer, request, self.worker.clock())

    async def action_retry(self) -> None:
        """Ctrl+R: answer the newest question again; the old answer stays in the tree beside the new one."""
        entered = self.worker.clock()
        if self._conversation.question is None:
            self._say("nothing to retry: ask something first")
            return
        self.worker.cancel()
        if (answer := self._conversation.answer) is not None:
            self._view.forget(answer)
        await self._answer(entered)

    def action_new_conversation(self) -> None:
        """Ctrl+N."""
        self._open_conversation(None)

    def _open_conversation(self, id: str | None) -> None:
        """Go on with the stored conversation `id`, or begin a new one."""
        self.worker.cancel()
        self._stop_editing()
        self._conversation = Conversation(self._history, id)
        self._show_conversation()
        self.query_one(Composer).focus()
