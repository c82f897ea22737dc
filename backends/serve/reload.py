"""Another backend, and other limits, in the place of those that serve, without dropping a stream."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from backends.backend import Backend
from backends.config import Serve
from backends.errors import BackendError
from backends.serve.service import Service

_log = logging.getLogger(__name__)

_LOOK_S = 0.5


class Reloading:
    """The backend that serves, and former ones until their last stream has ended. Owns all but the first."""

    def __init__(self, service: Service, first: Backend, open_next: Callable[[], tuple[Backend, Serve]]) -> None:
        """`open_next`: what the configuration says now; raises BackendError where it is wrong."""
        self._service = service
        self._first = first
        self._current = first
        self._open_next = open_next
        self._wanted = asyncio.Event()

    def want(self) -> None:
        """Reload soon; asked for again meanwhile, once more."""
        self._wanted.set()

    async def run(self) -> None:
        """Reload whenever it is wanted, until cancelled; then close what is left."""
        try:
            async with asyncio.TaskGroup() as retiring:
                while True:
                    await self._wanted.wait()
                    self._wanted.clear()
                    former = self._reload()
                    if former is not None and former is not self._first:
                        retiring.create_task(self._retire(former))
        finally:
            if self._current is not self._first:
                await self._current.aclose()

    def _reload(self) -> Backend | None:
        """The backend that was replaced; None where the new configuration cannot be used, and the old one stays."""
        try:
            following, settings = self._open_next()
        except BackendError as error:
            _log.error("the configuration is not reloaded: %s", error)
            return None
        self._current = following
        return self._service.use(following, settings)

    async def _retire(self, former: Backend) -> None:
        try:
            while self._service.has_streams_of(former):  # noqa: ASYNC110 - nobody tells, and nobody waits for it
                await asyncio.sleep(_LOOK_S)
        finally:
            await former.aclose()
