"""`Rag`: a backend around any backend, that answers from documents: retrieve, rerank, assemble, answer, cite.

    stream(request) -> Status retrieving -> (work) -> Status retrieving (ms, passages), reranking (ms), assembling (ms)
                    -> Meta (spans) -> the inner stream, on the clock of our call, with Citation events

The inner backend prefills the stable prefix, all before the newest question, while the documents are searched.

The passages that close "retrieving" carry the ids under which the model sees them, which are known after assembly: the
work of all three steps is done first and then reported, step by step. What they cost stands in the spans.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing

import msgspec

from backends.backend import Backend, ChatRequest, Message, Pausable, pausable
from backends.beside import beside
from backends.errors import BackendError
from backends.events import Citation, Error, Event, Logprob, Meta, Status, Token, is_terminal, shifted
from backends.rag.assemble import assemble, plain_messages
from backends.rag.cite import Scanner
from backends.rag.compress import compress
from backends.rag.options import Options
from backends.rag.query import build_query
from backends.rag.relevance import Relevance
from backends.rag.rerank import rerank
from backends.rag.retrieve import Retriever
from backends.rag.tokens import CountTokens, estimate_tokens
from backends.telemetry.stages import Span

logger = logging.getLogger(__name__)

_STEPS = 3
_MESSAGE_TOKENS = 8  # what a template puts around a message, on the safe side


class Rag:
    """A `Backend` that puts passages of `retriever` before the newest question and hands the rest to `inner`.

    A question that already has sources (a cut answer that goes on, a turn asked again) keeps them, without retrieval.
    Without a retriever, or for a request with ``docs=False``, nothing is added; sources that earlier turns were asked
    with are rendered all the same. `count_tokens` counts text as the model's tokenizer does; `context_size` says how
    many tokens the model can take with its answer (None: not known), and the sources take no more than is left of that.
    `relevance` orders what the words found.

    It owns them: `aclose` closes `inner`, `retriever` and `relevance`.
    """

    def __init__(
        self,
        inner: Backend,
        retriever: Retriever | None,
        options: Options | None = None,
        count_tokens: CountTokens = estimate_tokens,
        context_size: Callable[[], int | None] = lambda: None,
        relevance: Relevance | None = None,
    ) -> None:
        self._inner = inner
        self._retriever = retriever
        self._options = options or Options()
        self._count_tokens = count_tokens
        self._context_size = context_size
        self._relevance = relevance

    def stream(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        """Answer `request` from the documents. A failed retrieval is an `Error`: no answer without its sources."""
        return self._stream(request, time.perf_counter())

    async def warm(self, request: ChatRequest) -> Status | Error | None:
        """Bring the index up to date, and warm `inner` with what is certain already: all before the newest question."""
        wanted = self._wanted(request)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._prepare())
            inner = tasks.create_task(self._warm_inner(request, wanted[1] if wanted else len(request.messages)))
        return inner.result()

    @property
    def pausable(self) -> Pausable | None:
        """See `backend.pausable`: where `inner` is."""
        return pausable(self._inner)

    async def aclose(self) -> None:
        """Close the inner backend, then the retriever; running streams end with an `Error`."""
        try:
            await self._inner.aclose()
        finally:
            if self._retriever is not None:
                await self._retriever.aclose()
            if self._relevance is not None:
                await asyncio.to_thread(self._relevance.close)

    async def _stream(self, request: ChatRequest, started: float) -> AsyncGenerator[Event, None]:
        messages = request.messages
        if wanted := self._wanted(request):
            retriever, newest = wanted
            yield Status("retrieving", 1, _STEPS)
            try:
                async with beside(self._warm_inner(request, newest)):
                    context = await self._gather(retriever, request, started)
            except BackendError as error:
                yield error.event()
                return
            for report in context.reports(_ms_since(started)):
                yield report
            messages = _with_sources(messages, newest, context.sources)
        cites = self._has_rules(request, messages)
        scanner = Scanner(_citable(messages), request.continue_from) if cites else None
        relay = _Relay(scanner, _ms_since(started))
        async with aclosing(self._inner.stream(self._inner_request(request, messages))) as events:
            async for event in events:
                for each in relay.translate(event):
                    yield each
        for each in relay.rest():
            yield each

    async def _gather(self, retriever: Retriever, request: ChatRequest, started: float) -> _Context:
        """The three steps before the answer, and their spans. Raises BackendError."""
        query = build_query([message.content for message in request.messages if message.role == "user"])
        begun = _ms_since(started)
        found = await retriever.retrieve(query, self._options.candidates)
        retrieved = _ms_since(started)
        ranked = rerank(found.hits, found.terms)
        if self._relevance is not None:
            ranked = await asyncio.to_thread(self._relevance.rerank, query.text, ranked)
        reranked = _ms_since(started)
        hits = [compress(each.hit, found.terms) if self._options.compress else each.hit for each in ranked]
        sources = assemble(hits, self._options.top_k, self._budget(request), self._count_tokens)
        assembled = _ms_since(started)
        return _Context(
            sources,
            len(hits),
            Span("retrieval", begun, retrieved - begun),
            Span("reranking", retrieved, reranked - retrieved),
            Span("context_assembly", reranked, assembled - reranked),
        )

    def _budget(self, request: ChatRequest) -> int:
        """Tokens for the sources: what is configured, or what the conversation and its answer leave of the context."""
        size = self._context_size()
        if size is None:
            return self._options.token_budget
        messages = self._inner_request(request, request.messages).messages
        taken = sum(self._count_tokens(message.content) + _MESSAGE_TOKENS for message in messages)
        return min(self._options.token_budget, size - taken - request.token_limit)

    async def _warm_inner(self, request: ChatRequest, certain: int) -> Status | Error | None:
        """Let `inner` prefill the first `certain` messages: those that no source is put into any more."""
        return await self._inner.warm(self._inner_request(request, request.messages[:certain]))

    async def _prepare(self) -> None:
        if self._retriever is not None:
            try:
                await self._retriever.prepare()
            except BackendError as error:  # the stream that follows will say it
                logger.info("documents not ready: %s", error)

    def _wanted(self, request: ChatRequest) -> tuple[Retriever, int] | None:
        """The retriever to ask and the place of the question to ask it for; None where the question goes as it is."""
        if self._retriever is None or not request.docs:
            return None
        newest = next((i for i in reversed(range(len(request.messages))) if request.messages[i].role == "user"), None)
        if newest is None or request.messages[newest].sources:
            return None
        return self._retriever, newest

    def _inner_request(self, request: ChatRequest, messages: Sequence[Message]) -> ChatRequest:
        """`request` with plain `messages`; the rules stay while any turn has sources, so that the prefix does."""
        rules = self._has_rules(request, messages)
        return msgspec.structs.replace(request, messages=plain_messages(messages, rules=rules))

    def _has_rules(self, request: ChatRequest, messages: Sequence[Message]) -> bool:
        """Whether the model is told to cite; otherwise ``[S1]`` in its answer is text like any other."""
        return (self._retriever is not None and request.docs) or any(message.sources for message in messages)


class _Context(msgspec.Struct, frozen=True):
    """What goes before the question, of how many `relevant` passages, and what it took to find it."""

    sources: tuple[Citation, ...]
    relevant: int
    retrieval: Span
    reranking: Span
    assembly: Span

    def reports(self, latency: float) -> Iterator[Event]:
        """The events that tell it; `latency` is milliseconds since the call."""
        count = len(self.sources)
        detail = f"{count} passage{'s' * (count != 1)}"
        if not count:
            detail = "no room for sources in the context" if self.relevant else "nothing relevant in the documents"
        yield Status("retrieving", 1, _STEPS, detail, self.retrieval.duration, passages=self.sources)
        yield Status("reranking", 2, _STEPS, ms=self.reranking.duration)
        yield Status("assembling", 3, _STEPS, ms=self.assembly.duration)
        yield Meta(latency=latency, spans=(self.retrieval, self.reranking, self.assembly))


class _Relay:
    """The inner stream as ours: times on the clock of our call (`shift` ms earlier), text through the scanner, if any.

    A token whose text is held back is counted with the next text that comes out, so that the sum stays the same.
    """

    def __init__(self, scanner: Scanner | None, shift: float) -> None:
        self._scanner = scanner
        self._shift = shift
        self._count = 0
        self._logprobs: tuple[Logprob, ...] = ()

    def translate(self, event: Event) -> Iterator[Event]:
        """The events to send for one of the inner stream. A citation comes just before the text that uses it."""
        if self._scanner is not None and isinstance(event, Token):
            text, citations = self._scanner.feed(event.text)
            yield from citations
            self._count += event.count
            self._logprobs += event.logprobs
            if text or not event.text:
                yield self._token(text)
            return
        if is_terminal(event):
            yield from self.rest()
        yield shifted(event, self._shift)

    def rest(self) -> Iterator[Event]:
        """What is still held back when the stream ends."""
        text = self._scanner.flush() if self._scanner is not None else ""
        if text or self._count:
            yield self._token(text)

    def _token(self, text: str) -> Token:
        token, self._count, self._logprobs = Token(text, self._count, self._logprobs), 0, ()
        return token


def _ms_since(started: float) -> float:
    return (time.perf_counter() - started) * 1000.0


def _with_sources(messages: Sequence[Message], place: int, sources: tuple[Citation, ...]) -> tuple[Message, ...]:
    asked = msgspec.structs.replace(messages[place], sources=sources)
    return (*messages[:place], asked, *messages[place + 1 :])


def _citable(messages: Sequence[Message]) -> tuple[Citation, ...]:
    """What the answer may cite: the newest turn's sources; where it has none, the last that any turn had."""
    return next((message.sources for message in reversed(messages) if message.sources), ())
