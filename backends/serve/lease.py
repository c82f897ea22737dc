"""Leases: what holds a child alive. Each client keeps one answer of ``GET /v1/lease`` open; the last to go ends it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from backends.errors import Code
from backends.local.lease import PATH
from backends.serve.replies import Refusal, refuse

log = logging.getLogger(__name__)

_GRANTED = b": granted for as long as this connection stays open\n\n"


class Leases:
    """Counts the leases. `over` is set `grace` seconds after the last one has gone, or when none came within
    `first_lease` seconds of `start`; from then on none is granted."""

    def __init__(self, grace: float, first_lease: float) -> None:
        self.over = asyncio.Event()
        self._grace = grace
        self._first_lease = first_lease
        self._held = 0
        self._is_useful: Callable[[], bool] = lambda: True
        self._timer: asyncio.TimerHandle | None = None

    @property
    def route(self) -> Route:
        """The route to add to the app; behind its guard, as the others."""
        return Route(PATH, _Endpoint(self), methods=["GET"])

    def start(self) -> None:
        """Begin to wait for the first lease."""
        self._end_after(self._first_lease)

    def grant_while(self, is_useful: Callable[[], bool]) -> None:
        """From now on grant a lease only if `is_useful()`; those that are held stay."""
        self._is_useful = is_useful

    def end(self) -> None:
        """It is over, whoever still holds one."""
        self.over.set()

    @contextmanager
    def hold(self) -> Iterator[bool]:
        """One lease, for as long as the block runs; False if it is refused."""
        if self.over.is_set() or not self._is_useful():
            yield False
            return
        self._held += 1
        if self._timer is not None:
            self._timer.cancel()
        try:
            yield True
        finally:
            self._held -= 1
            if not self._held:
                self._end_after(self._grace)

    def _end_after(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._expire, seconds)

    def _expire(self, seconds: float) -> None:
        log.info("no lease for %g s", seconds)
        self.end()


class _Endpoint:
    """The route's ASGI app: grants, and waits for the client's disconnect or for the end of all leases."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._leases.hold() as granted:
            if not granted:
                await refuse(send, Refusal(503, "this engine has ended", Code.SHUTDOWN))
                return
            headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": _GRANTED, "more_body": True})
            async with asyncio.TaskGroup() as group:
                waits = [group.create_task(_gone(receive)), group.create_task(self._leases.over.wait())]
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                for task in waits:
                    task.cancel()
            await send({"type": "http.response.body", "body": b""})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
