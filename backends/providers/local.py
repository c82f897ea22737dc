"""The provider ``local``: a GGUF on this machine, run by llama.cpp in a child process that this module looks after.

The child (`backends.serve.child`) is shared by all clients with the same settings and held alive by their leases; to
us it is a server behind a socket, so tokens travel one path, local or remote (DESIGN.md, "The cut").
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from typing import Annotated

import msgspec

from backends.backend import Backend, ChatRequest, Pausable
from backends.engine.options import EngineOptions
from backends.errors import BackendError, Code
from backends.events import Error, Event, Status
from backends.local.clock import Clock
from backends.local.launcher import Attachment, Settings, attach
from backends.local.spec import Spec
from backends.local.watch import Watch
from backends.providers import ProviderOptions, Site
from backends.providers.rag import absolute
from backends.rag.options import Embedding
from backends.sse.timeouts import Timeouts

log = logging.getLogger(__name__)

DEMO = "demo"
SAMPLE = "sample"

_CUT = frozenset({Code.CONNECT, Code.INTERRUPTED, Code.TIMEOUT_CONNECT})
_LEAVE = frozenset({Code.MODEL_LOAD, Code.ENGINE_MISSING, Code.SHUTDOWN, Code.INTERNAL})
"""Errors of a child that will not get better by asking it again."""


class LocalOptions(ProviderOptions, frozen=True, kw_only=True):
    """What is `local`'s own. `model`: path of a GGUF file; "" or "demo" is the demo model that comes with llmchat.
    `documents`: a folder (or one file) of Markdown, text, HTML, PDF or Word documents to answer from; "sample" for the
    sample documents; "" for none. `top_k`: passages at most. `token_budget`: tokens that they may add to a question (0:
    chosen by the context). `compress`: without the sentences that have nothing of the question. `embedding`: a model
    that finds passages by meaning. `reranker`: a GGUF file that orders what was found. `database`: a PostgreSQL server
    that keeps the index for many, instead of a file here.
    """

    model: str = ""
    documents: str = ""
    top_k: Annotated[int, msgspec.Meta(ge=1, le=50)] = 3
    token_budget: Annotated[int, msgspec.Meta(ge=0)] = 0
    compress: bool = False
    embedding: Embedding = Embedding()
    reranker: str = ""
    database: str = ""


def _check(options: LocalOptions) -> None:
    """Refuse settings that do not go together while their line is still known. Raises ValueError."""
    settings = {field.name: getattr(options, field.name) for field in _SETTINGS}
    if options.model in ("", DEMO):
        settings["draft_model"] = settings["draft_model"] or DEMO  # it brings its own
    EngineOptions(model=options.model, **settings)


_SETTINGS = [field for field in msgspec.structs.fields(EngineOptions) if field.name != "model"]

Options = msgspec.defstruct(
    "Options",
    [(field.name, field.type, field.default) for field in _SETTINGS],
    bases=(LocalOptions,),
    namespace={"__doc__": "`LocalOptions`, and every key of `EngineOptions` beside them.", "__post_init__": _check},
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
    if settings["draft_model"]:
        settings["draft_model"] = str(site.path(settings["draft_model"]).absolute())
    elif is_demo:
        settings["draft_model"] = str(demo.DRAFT)
    settings["lora"] = tuple((str(site.path(path).absolute()), scale) for path, scale in settings["lora"])
    engine = EngineOptions(model=str(model.absolute()), **settings)
    budget = options.token_budget or _token_budget(engine.n_ctx, is_demo)
    return Spec(
        engine,
        str(documents.absolute()) if options.documents else "",
        options.top_k,
        budget,
        options.compress,
        absolute(options.embedding, site),
        str(site.path(options.reranker).absolute()) if options.reranker else "",
        options.database,
    )


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
        self._links: set[_Link] = set()  # that one, and spent ones whose streams still run
        self._starting: asyncio.Task[_Link] | None = None
        self._closed = False
        self._paused: set[str] = set()  # keys of requests

    def stream(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        """See `Backend.stream`. A start of the engine is reported, and counts as `model_load`."""
        return self._stream(request, time.perf_counter())

    async def warm(self, request: ChatRequest) -> Status | Error | None:
        """See `Backend.warm`: starts the engine, which loads its model, and passes the hint on."""
        try:
            link = await self._linked()
        except BackendError as error:
            log.info("the engine is not warm: %s", error)
            return error.event()
        return await link.native.warm(request)

    async def aclose(self) -> None:
        """Give up the lease: the engine ends by itself unless others use it. Running streams end with SHUTDOWN."""
        self._closed = True
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait({self._starting})
        for link in self._links:
            await link.aclose()

    # ---- Pausable

    @property
    def pausable(self) -> Pausable:
        """It is, as its engine is."""
        return self

    def pause(self, key: str) -> None:
        """See `Pausable`."""
        self._paused.add(key)
        for link in self._links:
            link.native.pause(key)

    def resume(self, key: str) -> None:
        """See `Pausable`."""
        self._paused.discard(key)
        for link in self._links:
            link.native.resume(key)

    # ---- one answer

    async def _stream(self, request: ChatRequest, called: float) -> AsyncGenerator[Event, None]:
        link = self._usable()
        waited = link is None
        if link is None:
            yield Status("loading", detail="starting the engine")
            try:
                link = await self._linked()
            except BackendError as error:
                yield error.event()
                return
        clock = Clock(called, waited=waited)
        async with aclosing(self._answer(link, request)) as events:
            async for event in events:
                for each in clock.translate(event):
                    yield each

    async def _answer(self, link: _Link, request: ChatRequest) -> AsyncGenerator[Event, None]:
        """The child's events; where it died meanwhile, the last one says so."""
        if request.key in self._paused:  # while there was no child yet
            link.native.pause(request.key)
        events = link.native.stream(request)
        try:
            with link.watch() as watch:
                async with aclosing(events):
                    while (event := await watch.next(events)) is not None:
                        if isinstance(event, Error):
                            event = await self._verdict(link, event)
                        yield event
                if watch.expired:
                    yield (await self._obituary(link)).event()
        finally:
            await self._release(link)

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
        importing = asyncio.create_task(asyncio.to_thread(_import_client))
        try:
            if self._link is not None:
                self._link.spent = True
                await self._release(self._link)
            attachment = await attach(self.spec, self._settings)
            self._link = _Link(attachment)  # and from here on `aclose` finds it
            self._links.add(self._link)
            await asyncio.wait({importing})
            return self._link
        finally:
            importing.cancel()
            self._starting = None

    async def _release(self, link: _Link) -> None:
        """Close a spent `link` if nobody reads from it any more."""
        if link.spent and not link.streams and not self._closed:
            self._links.discard(link)
            await link.aclose()


class _Link:
    """A child in use by this backend, until it is `spent`: dead, ending, or of no use."""

    def __init__(self, attachment: Attachment) -> None:
        from backends.providers.native import Native

        at = attachment.endpoint
        patient = Timeouts(first_token=None)  # loading takes what it takes; if the child dies, the lease tells
        self.attachment = attachment
        self.native = Native(at.url, uds=at.uds or None, token=at.token, timeouts=patient, local=True)
        self.spent = False
        self.streams = 0

    @contextmanager
    def watch(self) -> Iterator[Watch]:
        """For one stream, which is counted meanwhile."""
        watch, lost = Watch(), self.attachment.lease.lost
        lost.add_done_callback(watch.on_lost)
        self.streams += 1
        try:
            yield watch
        finally:
            self.streams -= 1
            lost.remove_done_callback(watch.on_lost)

    async def is_lost(self) -> bool:
        """True if the lease is, or will be within moments: the kernel closes connections one after another."""
        await asyncio.wait({self.attachment.lease.lost}, timeout=1.0)
        return not self.attachment.alive

    async def aclose(self) -> None:
        """Close the connections, then the lease."""
        try:
            await self.native.aclose()
        finally:
            await self.attachment.aclose()


def _import_client() -> None:
    """Load what talks to the child while the child starts, so that neither waits for the other."""
    import backends.sse.client  # noqa: F401


def _look(starting: asyncio.Task[_Link]) -> None:
    """Look at a failed start, so that one whose waiters have all gone is not reported as never retrieved."""
    if not starting.cancelled():
        starting.exception()


def _shutdown() -> BackendError:
    return BackendError(Code.SHUTDOWN, "the local model was closed here", retryable=True)
