"""The backend in use: opened after the first frame, warmed, exchanged for another one, closed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Literal

from backends.backend import Backend, ChatRequest, innermost
from backends.errors import BackendError, Code
from backends.events import Error, Status
from backends.telemetry.timeline import Timeline
from tui import log_file

log = logging.getLogger(__name__)

State = Literal["opening", "warming", "loading", "ready", "unreachable", "failed"]

LOOK_AGAIN = 0.3
"""Seconds between two looks at a model that loads."""

_UNREACHED = (Code.CONNECT, Code.TIMEOUT_CONNECT, Code.TLS)

CLOSE_WITHIN = 3.0
"""Seconds that a backend is given to close when it is exchanged or when the app ends."""


class Connection:
    """One open backend at a time, by its configured name.

    Opening runs in a thread, since it may import much and read files; the prompt stays usable meanwhile, and whoever
    asks first waits for it.
    """

    def __init__(self, open_backend: Callable[[str], Backend], name: str) -> None:
        self._open = open_backend
        self._opening: asyncio.Task[Backend] | None = None
        self.name = name
        self.model = ""
        """The model that was chosen for this session; "" leaves it to the configuration."""
        self.server = ""
        """What the server turned out to be, where that had to be found out."""
        self.state: State = "opening"
        self.problem = ""
        """Why the backend cannot be had, where `state` is "failed", or be reached, where it is "unreachable"."""
        self.loading: Status | None = None
        """How far the model is, where `state` is "loading"."""

    async def backend(self) -> Backend:
        """The backend, once it is there. Raises what opening it raised (BackendError); the next call tries again."""
        if self._opening is None or (self._opening.done() and _failed(self._opening)):
            self._opening = self._start(self.name)
        try:
            backend = await asyncio.shield(self._opening)
        except Exception as error:
            self.state = "failed"
            self.problem = error.message if isinstance(error, BackendError) else _defect()
            raise
        if self.state == "failed":
            self.state, self.problem = "ready", ""
        return backend

    async def prepare(self, request: ChatRequest, changed: Callable[[], None] = lambda: None) -> None:
        """Open the backend and let it load what `request` needs, to the end. Never fails: the first question will tell.

        `changed` is called whenever `state` or `loading` is news.
        """
        try:
            backend = await self.backend()
            self.state = "warming"
            changed()
            while isinstance(met := await backend.warm(request), Status):
                self.state, self.loading = "loading", met
                changed()
                await asyncio.sleep(LOOK_AGAIN)
            self.met(met)

            from backends.providers.auto import Auto  # not needed for the first frame

            if isinstance(answering := innermost(backend), Auto) and answering.dialect is not None:
                self.server = answering.dialect.server
        except BackendError as error:
            log.warning("backend %s: %s", self.name, error)
        except Exception:  # a hint must not end the app; a question meets the same defect and shows it
            log.exception("while preparing backend %s", self.name)
        if self.state in ("warming", "loading"):
            self.state = "ready"

    async def warm(self, request: ChatRequest) -> None:
        """Tell an open backend that this prefix is coming; nothing before it was prepared. Never fails."""
        if self.state not in ("ready", "unreachable"):
            return
        try:
            met = await (await self.backend()).warm(request)
        except Exception:  # as in prepare
            log.exception("while warming backend %s", self.name)
        else:
            self.met(met)

    def met(self, met: Status | Error | None) -> None:
        """What a request or a hint came to; None: the backend works, as far as it is known."""
        if isinstance(met, Error) and met.code == Code.SHUTDOWN:
            return
        if isinstance(met, Error):
            self.state, self.problem = "unreachable", met.message
        else:
            self.state, self.problem = "ready", ""

    def answered(self, timeline: Timeline) -> None:
        """An answer has ended: whoever sent a word of it was reached."""
        error = timeline.error
        if timeline.first_token_ms is not None or (error is not None and error.code in _UNREACHED):
            self.met(None if timeline.first_token_ms is not None else error)

    async def switch(self, name: str, model: str = "") -> None:
        """Exchange the backend for `name` and close the old one. Raises BackendError and keeps the old one.

        `model`: the one that it shall answer with.
        """
        opening = self._start(name)
        await asyncio.shield(opening)
        old, self._opening, self.name, self.state = self._opening, opening, name, "opening"
        self.model, self.server = model, ""
        await _close(old)

    def beside(self, name: str) -> Connection:
        """A connection of its own to the backend `name`, which the caller closes."""
        return Connection(self._open, name)

    async def aclose(self) -> None:
        """Close the backend, waiting a bounded time."""
        old, self._opening = self._opening, None
        await _close(old)

    def _start(self, name: str) -> asyncio.Task[Backend]:
        task = asyncio.create_task(asyncio.to_thread(self._open, name), name=f"open backend {name}")
        task.add_done_callback(_failed)  # so that a failure nobody waited for is not reported as never retrieved
        return task


def _defect() -> str:
    return f"llmchat failed while opening this backend; the details are in {log_file.path()}"


def _failed(opening: asyncio.Task[Backend]) -> bool:
    return opening.cancelled() or opening.exception() is not None


async def _close(opening: asyncio.Task[Backend] | None) -> None:
    if opening is None:
        return
    try:
        async with asyncio.timeout(CLOSE_WITHIN):
            await (await opening).aclose()
    except BackendError:
        return  # it never opened
    except Exception:  # whatever goes wrong while closing is for the log: there is nothing left to save
        log.exception("while closing a backend")
