"""The provider ``auto``: a server whose dialect is found by asking it, once, when it is first used.

It is what ``--url`` is without a configuration. Where the URL says the dialect (``.../v1``, a provider's host), nobody
is asked. The questions carry no key and no text (`backends.foreign.probe`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from backends import providers
from backends.backend import Backend, ChatRequest, Pausable, pausable
from backends.errors import BackendError, Code
from backends.events import Error, Event, Status, shifted
from backends.foreign.dialect import Dialect, by_url
from backends.foreign.server import Catalogue
from backends.providers import ServerOptions, Site
from backends.sse.address import Address, parse_address
from backends.sse.network import Network


class Options(ServerOptions, frozen=True, kw_only=True):
    """`url`: the server."""


def connect(options: Options, site: Site) -> Backend:
    """The server at `options.url`; asks nobody yet. Raises ConfigError."""
    options.key(site)  # one that is not there is told at once
    network = options.network(site)
    return Auto(parse_address(options.url), lambda name: providers.connect_as(name, options, site), network)


class Auto:
    """A Backend that becomes one of another provider as soon as it is known which."""

    def __init__(self, address: Address, open_as: Callable[[str], Backend], network: Network | None = None) -> None:
        """`open_as` opens the backend for the provider of a name; `network` is how the questions reach the server."""
        self._address = address
        self._network = network
        self._open_as = open_as
        self._backend: Backend | None = None
        self._asking = asyncio.Lock()
        self._closed = False
        self.dialect: Dialect | None = None
        """What the server turned out to be."""

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        """See `Backend.stream`. The first one says what the server is."""
        called = time.perf_counter()
        new = self._backend is None
        if new:
            yield Status("connecting", detail="finding out what the server speaks")
        try:
            backend = await self._known()
        except BackendError as error:
            yield error.event()
            return
        if new and self.dialect is not None:
            yield Status("connecting", detail=self.dialect.server)
        waited = (time.perf_counter() - called) * 1000
        async with aclosing(backend.stream(request)) as events:
            async for event in events:
                yield shifted(event, waited) if new else event

    async def warm(self, request: ChatRequest) -> Status | Error | None:
        """See `Backend.warm`; finds out what the server is."""
        try:
            backend = await self._known()
        except BackendError as error:
            return error.event()
        return await backend.warm(request)

    async def models(self) -> tuple[str, ...]:
        """The names of the models that the server lists; none where it lists none. Raises BackendError."""
        backend = await self._known()
        return await backend.models() if isinstance(backend, Catalogue) else ()

    @property
    def pausable(self) -> Pausable | None:
        """What the backend is besides, once it is known."""
        return None if self._backend is None else pausable(self._backend)

    async def aclose(self) -> None:
        """See `Backend.aclose`."""
        self._closed = True
        if self._backend is not None:
            await self._backend.aclose()

    async def _known(self) -> Backend:
        """The backend, once it is known which. Raises BackendError where nobody answers; the next call asks again."""
        async with self._asking:
            if self._backend is None:
                found = by_url(self._address.url)
                if found is None:
                    from backends.foreign.probe import ask

                    found = await ask(self._address, network=self._network)
                if self._closed:
                    raise BackendError(Code.SHUTDOWN, f"the connection to {self._address.shown} was closed here")
                self._backend, self.dialect = self._open_as(found.type), found
            return self._backend
