"""The provider ``local``: a GGUF on this machine, run by llama.cpp in a child process that this module looks after.

The child (`backends.serve.child`) is shared by all clients with the same settings and held alive by their leases; to
us it is a server behind a socket, so tokens travel one path, local or remote (DESIGN.md, "The cut").
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, cast

import msgspec

from backends.backend import Backend, ChatRequest
from backends.engine.options import EngineOptions
from backends.errors import BackendError, Code
from backends.events import Done, Error, Event, Meta, Status
from backends.local.launcher import Attachment, Settings, attach
from backends.local.spec import Spec
from backends.providers import ProviderOptions, Site
from backends.sse.timeouts import Timeouts
from backends.telemetry.stages import Span

if TYPE_CHECKING:
    from backends.providers.native import Native

log = logging.getLogger(__name__)

DEMO = "demo"
SAMPLE = "sample"

LAST_WORDS_S = 0.5
"""How long what a dead child had sent may still be read."""

_CUT = frozenset({Code.CONNECT, Code.INTERRUPTED, Code.TIMEOUT_CONNECT})
_SEARCHING = frozenset({"retrieving", "reranking", "assembling"})
_LEAVE = frozenset({Code.MODEL_LOAD, Code.ENGINE_MISSING, Code.SHUTDOWN, Code.INTERNAL})
"""Errors of a child that will not get better by asking it again."""


class LocalOptions(ProviderOptions, frozen=True, kw_only=True):
    """What is `local`'s own. `model`: path of a GGUF file; "" or "demo" is the demo model that comes with llmchat.
    `documents`: a folder (or one file) of Markdown and text to answer from; "sample" for the sample documents; "" for
    none. `top_k`: passages at most. `token_budget`: tokens that they may add to a question (0: chosen by the context).
    """

    model: str = ""
    documents: str = ""
    top_k: Annotated[int, msgspec.Meta(ge=1, le=50)] = 3
    token_budget: Annotated[int, msgspec.Meta(ge=0)] = 0


_SETTINGS = [field for field in msgspec.structs.fields(EngineOptions) if field.name != "model"]

Options = msgspec.defstruct(
    "Options",
    [(field.name, field.type, field.default) for field in _SETTINGS],
    bases=(LocalOptions,),
    namespace={"__doc__": "`LocalOptions`, and every key of `EngineOptions` beside them."},
    frozen=True,
    kw_only=True,
)


def connect(options: LocalOptions, site: Site) -> Backend:
    """A `Local`; nothing is started before it is used."""
    return Local(spec_of(options, site))


def spec_of(options: LocalOptions, site: Site) -> Spec:
    """What `options` ask a child to serve: paths made absolute, the demo's names resolved."""
    from backends import demo

    is_demo = options.model in ("", DEMO)
    model = demo.MODEL if is_demo else site.path(options.model)
    documents = demo.DOCUMENTS if options.documents == SAMPLE else site.path(options.documents)
    settings = {field.name: getattr(options, field.name) for field in _SETTINGS}
    engine = EngineOptions(model=str(model.absolute()), **settings)
    budget = options.token_budget or _token_budget(engine.n_ctx, is_demo)
    return Spec(engine, str(documents.absolute()) if options.documents else "", options.top_k, budget)


def _token_budget(n_ctx: int, is_demo: bool) -> int:
    """Tokens for sources: what leaves room for a conversation. The demo model's context is small."""
    if is_demo:
        return 600
    return min(3000, max(50, n_ctx // 3)) if n_ctx else 3000


class Local:
    """A `Backend` that starts the engine when it is first used, and again when it has died.

    A crash ends the streams that run with ENGINE_DIED, and nothing else; the next stream gets a new child.
    """

    def __init__(self, spec: Spec, settings: Settings | None = None) -> None:
        self.spec = spec
        self._settings = settings or Settings()
        self._link: _Link | None = None
        self._starting: asyncio.Task[_Link] | None = None
        self._closed = False

    def stream(self, request: ChatRequest) -> AsyncIterator[Event]:
        """See `Backend.stream`. A start of the engine is reported, and counts as `model_load`."""
        return self._stream(request, time.perf_counter())

    async def warm(self, request: ChatRequest) -> None:
        """See `Backend.warm`: starts the engine, which loads its model, and passes the hint on."""
        try:
            link = await self._linked()
        except BackendError as error:  # the stream that follows will say it
            log.info("the engine is not warm: %s", error)
            return
        await link.native.warm(request)

    async def aclose(self) -> None:
        """Give up the lease: the engine ends by itself unless others use it. Running streams end with SHUTDOWN."""
        self._closed = True
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait({self._starting})
        if self._link is not None:
            await self._link.aclose()

    # ---- one answer

    async def _stream(self, request: ChatRequest, called: float) -> AsyncGenerator[Event, None]:
        clock: _Clock | None = None
        try:
            link = self._usable()
            if link is None:
                yield Status("loading", detail="starting the engine")
                link = await self._linked()
                clock = _Clock(called, waited=True)
            clock = clock or _Clock(called, waited=False)
        except BackendError as error:
            yield error.event()
            return
        async with aclosing(self._answer(link, request)) as events:
            async for event in events:
                for each in clock.translate(event):
                    yield each

    async def _answer(self, link: _Link, request: ChatRequest) -> AsyncGenerator[Event, None]:
        """The child's events; where it died meanwhile, the last one says so."""
        # Every backend's iterator can be closed (Backend.stream); AsyncIterator just does not say so.
        events = cast(AsyncGenerator[Event, None], link.native.stream(request))
        with link.watch() as watch:
            async with aclosing(events):
                while (event := await watch.next(events)) is not None:
                    if isinstance(event, Error):
                        event = await self._verdict(link, event)
                    yield event
        if watch.expired:
            yield (await self._obituary(link)).event()
        await link.release()

    async def _verdict(self, link: _Link, error: Error) -> Error:
        """`error` as it came, unless what it reports is the child's death."""
        if error.code in _LEAVE:
            link.spent = True  # the next stream looks for another child, or starts one from the file as it is then
        if error.code in _CUT and not self._closed and await link.is_lost():
            return (await self._obituary(link)).event()
        return error

    async def _obituary(self, link: _Link) -> BackendError:
        if self._closed:
            return _shutdown()
        link.spent = True
        return await link.attachment.obituary()

    # ---- the child

    def _usable(self) -> _Link | None:
        link = self._link
        return link if link is not None and link.attachment.alive and not link.spent else None

    async def _linked(self) -> _Link:
        """A child that answers, started if need be; callers meanwhile wait for the same start. Raises BackendError."""
        if self._closed:
            raise _shutdown()
        if link := self._usable():
            return link
        if self._starting is None:
            self._starting = asyncio.create_task(self._start(), name="start the engine")
            self._starting.add_done_callback(_look)
        starting = self._starting
        await asyncio.wait({starting})
        if starting.cancelled():
            raise _shutdown()
        return starting.result()

    async def _start(self) -> _Link:
        try:
            if self._link is not None:
                self._link.spent = True
                await self._link.release()
            link = await _connect(self.spec, self._settings)
            self._link = link
            return link
        finally:
            self._starting = None


class _Link:
    """A child in use by this backend; closed when it is spent and its last stream has ended."""

    def __init__(self, attachment: Attachment, native: Native) -> None:
        self.attachment = attachment
        self.native = native
        self.spent = False
        self._watches: set[_Watch] = set()

    def watch(self) -> _Watch:
        """For one stream: a context manager that counts it."""
        return _Watch(self.attachment, self._watches)

    async def is_lost(self) -> bool:
        """True if the lease is, or will be within moments: the kernel closes connections one after another."""
        await asyncio.wait({self.attachment.lease.lost}, timeout=1.0)
        return not self.attachment.alive

    async def release(self) -> None:
        """Close it if nobody needs it any more."""
        if self.spent and not self._watches:
            await self.aclose()

    async def aclose(self) -> None:
        """Close the connections, then the lease."""
        try:
            await self.native.aclose()
        finally:
            await self.attachment.aclose()


class _Watch:
    """Reads one stream for as long as the child lives, and `LAST_WORDS_S` longer."""

    def __init__(self, attachment: Attachment, watches: set[_Watch]) -> None:
        self.expired = False
        self._lost = attachment.lease.lost
        self._watches = watches
        self._deadline: float | None = None
        self._scope: asyncio.Timeout | None = None

    def __enter__(self) -> _Watch:
        self._watches.add(self)
        self._lost.add_done_callback(self._on_lost)
        return self

    def __exit__(self, *_: object) -> None:
        self._lost.remove_done_callback(self._on_lost)
        self._watches.discard(self)

    async def next(self, events: AsyncGenerator[Event, None]) -> Event | None:
        """The next event; None when there is none, `expired` telling whether the child's death is why."""
        try:
            async with asyncio.timeout_at(self._deadline) as self._scope:
                return await anext(events, None)
        except TimeoutError:
            if self._scope is None or not self._scope.expired():
                raise
            self.expired = True
            return None
        finally:
            self._scope = None

    def _on_lost(self, _: asyncio.Future[None]) -> None:
        self._deadline = asyncio.get_running_loop().time() + LAST_WORDS_S
        if self._scope is not None:
            self._scope.reschedule(self._deadline)


class _Clock:
    """The child's events on the clock of our call, which was earlier by what the start took.

    `waited`: this answer waited for the start. That is part of `model_load`, as what the child spends on loading is:
    a derived span from the call to the first event past both, or to the start's end where documents are searched
    before the model is needed, since the child then reports its loading alone.
    """

    def __init__(self, called: float, *, waited: bool) -> None:
        self._called = called
        self._shift = _ms_since(called)
        self._waited = waited
        self._searched = False

    def translate(self, event: Event) -> list[Event]:
        """What to send for one event of the child."""
        events = [self._shifted(event)]
        if self._waited and not isinstance(event, Meta) and not self._is_before_loaded(event):
            self._waited = False
            now = _ms_since(self._called)
            load = Span("model_load", 0.0, self._shift if self._searched else now, "derived")
            events.insert(0, Meta(latency=now, spans=(load,)))
        return events

    def _is_before_loaded(self, event: Event) -> bool:
        if isinstance(event, Status) and event.status in _SEARCHING:
            self._searched = True
            return True
        return isinstance(event, Status) and event.status in ("connecting", "loading")

    def _shifted(self, event: Event) -> Event:
        if isinstance(event, Done):
            return msgspec.structs.replace(event, latency=event.latency + self._shift)
        if isinstance(event, Meta):
            latency = None if event.latency is None else event.latency + self._shift
            spans = tuple(span.shifted(self._shift) for span in event.spans)
            return msgspec.structs.replace(event, latency=latency, spans=spans)
        return event


async def _connect(spec: Spec, settings: Settings) -> _Link:
    """Attach to a child, importing what talks to it meanwhile. Raises BackendError."""
    importing = asyncio.create_task(asyncio.to_thread(_import_native))
    try:
        attachment = await attach(spec, settings)
    finally:
        native = await importing
    at = attachment.endpoint
    patient = Timeouts(first_token=None)  # loading takes what it takes; if the child dies meanwhile, the lease tells
    return _Link(attachment, native(at.url, uds=at.uds or None, token=at.token, timeouts=patient, local=True))


def _import_native() -> type[Native]:
    from backends.providers.native import Native

    return Native


def _look(starting: asyncio.Task[_Link]) -> None:
    """Look at a failed start, so that one whose waiters have all gone is not reported as never retrieved."""
    if not starting.cancelled():
        starting.exception()


def _shutdown() -> BackendError:
    return BackendError(Code.SHUTDOWN, "the local model was closed here", retryable=True)


def _ms_since(called: float) -> float:
    return (time.perf_counter() - called) * 1000
