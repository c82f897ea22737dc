"""Another backend, other limits, clients and TLS files in the place of those that serve, without dropping a stream."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import msgspec

from backends.backend import Backend
from backends.config import Serve
from backends.errors import BackendError
from backends.serve import certificate
from backends.serve.certificate import Certificate
from backends.serve.guard import Access
from backends.serve.models import Models
from backends.serve.retry import Retrying
from backends.serve.service import Service

_log = logging.getLogger(__name__)

_LOOK_S = 0.5
_FIXED = ("log", "otel_endpoint")
"""Settings that are looked at only when the service starts."""


class Reopened(msgspec.Struct, frozen=True):
    """What the configuration says now; `open` opens its backend and raises BackendError."""

    open: Callable[[], Backend]
    settings: Serve
    access: Access
    models: Models


class Reloading:
    """The backend that serves, and former ones until their last stream has ended; it closes all of them."""

    def __init__(
        self,
        service: Service,
        first: Backend,
        reopen: Callable[[], Reopened],
        models: Models,
        shown: Certificate | None = None,
    ) -> None:
        """`reopen` raises BackendError where the configuration is wrong. `models` and `shown` are those in use."""
        self._service = service
        self._current = first
        self._reopen = reopen
        self._models = models
        self._shown = shown
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
                    if (former := self._reload()) is not None:
                        retiring.create_task(self._retire(former))
        finally:
            await self._current.aclose()

    def _reload(self) -> Backend | None:
        """The backend that was replaced; None where the new configuration cannot be used, and the old one stays."""
        try:
            fresh = self._reopen()
            tls = certificate.load((fresh.settings.tls_cert, fresh.settings.tls_key)) if self._is_tls(fresh) else None
            self._current = Retrying(fresh.open(), fresh.settings.retries)
        except BackendError as error:
            _log.error("the configuration is not reloaded: %s", error)
            return None
        for name in self._needing_restart(fresh.settings):
            _log.warning("serve.%s has changed: that takes a restart", name)
        if self._shown is not None and tls is not None:
            self._shown.use(tls)
        self._models.use(fresh.models)
        return self._service.use(self._current, fresh.settings, fresh.access)

    def _is_tls(self, fresh: Reopened) -> bool:
        return self._shown is not None and bool(fresh.settings.tls_cert)

    def _needing_restart(self, settings: Serve) -> list[str]:
        now = self._service.settings
        changed = [name for name in _FIXED if getattr(now, name) != getattr(settings, name)]
        return changed + ["tls_cert"] * (bool(settings.tls_cert) != (self._shown is not None))

    async def _retire(self, former: Backend) -> None:
        try:
            while self._service.has_streams_of(former):  # noqa: ASYNC110 - nobody tells, and nobody waits for it
                await asyncio.sleep(_LOOK_S)
        finally:
            await former.aclose()
