"""`Rag` around a scripted backend: the order of events, one clock, the prompt, cancelling, errors."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from pathlib import Path

import pytest

from backends.backend import Backend, ChatRequest, Message
from backends.errors import BackendError, Code
from backends.events import Citation, Done, Error, Event, Logprob, Meta, Reasoning, Status, Token
from backends.rag.index import Index
from backends.rag.options import Options
from backends.rag.prompt import SYSTEM
from backends.rag.query import Query
from backends.rag.rag import Rag
from backends.rag.relevance import Relevance
from backends.rag.retrieve import FolderRetriever, Found
from backends.telemetry.stages import Span
from tests.fakes.scripted import Hold, Scripted, answer

PAUSE = "Can I pause my annual subscription?"
PAUSE_SOURCE = Citation(
    "plans.md",
    "S1",
    "Plans > Pausing a subscription",
    "Pausing a subscription",
    "You can pause an annual subscription for up to three months in the account settings.",
)
PAUSE_TURN = (
    "Sources:\n[S1] Plans > Pausing a subscription: You can pause an annual subscription for up to three months in the "
    f"account settings. [/S1]\n\nQuestion: {PAUSE}"
)


@pytest.fixture
async def retriever(folder: Path) -> AsyncIterator[FolderRetriever]:
    retriever = FolderRetriever(Index([folder]))
    yield retriever
    await retriever.aclose()


def ask(*contents: str, **more: object) -> ChatRequest:
    """A request of user and assistant turns in turn."""
    roles = ("user", "assistant")
    messages = tuple(Message(roles[i % 2], content) for i, content in enumerate(contents))
    return ChatRequest(messages, **more)  # type: ignore[arg-type]


async def events_of(backend: Backend, request: ChatRequest) -> list[Event]:
    return [event async for event in backend.stream(request)]


async def test_an_answer_from_the_documents(retriever: FolderRetriever) -> None:
    inner = Scripted(Status("prefilling"), *answer("Yes", " [S1", "]", ".", latency=40.0))
    events = await events_of(Rag(inner, retriever, Options(top_k=1)), ask(PAUSE))
    opened, retrieved, reranked, assembled, meta, prefilling, *rest = events
    assert opened == Status("retrieving", 1, 3)
    assert isinstance(retrieved, Status)
    assert retrieved.passages == (PAUSE_SOURCE,)
    assert (retrieved.status, retrieved.step, retrieved.steps, retrieved.detail) == ("retrieving", 1, 3, "1 passage")
    assert isinstance(reranked, Status)
    assert isinstance(assembled, Status)
    assert (reranked.status, reranked.step, assembled.status, assembled.step) == ("reranking", 2, "assembling", 3)
    assert isinstance(meta, Meta)
    assert [span.stage for span in meta.spans] == ["retrieval", "reranking", "context_assembly"]
    assert [span.duration for span in meta.spans] == [retrieved.ms, reranked.ms, assembled.ms]
    assert prefilling == Status("prefilling")
    assert rest[:4] == [Token("Yes"), Token(" "), PAUSE_SOURCE, Token("[S1]")]
    assert rest[4] == Token(".")
    assert isinstance(rest[5], Done)
    assert rest[5].total_tokens == 4 == sum(event.count for event in rest if isinstance(event, Token))
    assert inner.requests[0].messages == (Message("system", SYSTEM), Message("user", PAUSE_TURN))


async def test_everything_is_on_the_clock_of_the_call(retriever: FolderRetriever) -> None:
    inner = Scripted(
        Meta(latency=30.0, spans=(Span("prefill", 10.0, 20.0), Span("connect", 0.0, 1.0, "client"))),
        Meta(model="m"),
        Done(0, 50.0),
    )
    started = time.perf_counter()
    stream = Rag(inner, retriever).stream(ask(PAUSE))
    await asyncio.sleep(0.02)  # the clock runs from the call, not from the first event that is asked for
    events = [event async for event in stream]
    took = (time.perf_counter() - started) * 1000
    own, shifted, without, done = events[4:]
    assert isinstance(own, Meta)
    assert isinstance(shifted, Meta)
    assert isinstance(done, Done)
    assert own.spans[0].offset >= 20.0
    assert [span.offset for span in own.spans[1:]] == pytest.approx([span.end for span in own.spans[:-1]])
    assert own.latency is not None
    assert own.spans[-1].end <= own.latency
    before = shifted.spans[0].offset - 10.0
    assert own.latency <= before <= took
    assert shifted.latency == pytest.approx(30.0 + before)
    assert shifted.spans == (Span("prefill", 10.0 + before, 20.0), Span("connect", before, 1.0, "client"))
    assert without == Meta(model="m")
    assert done.latency == pytest.approx(50.0 + before)


async def test_a_greeting_stays_a_greeting(retriever: FolderRetriever) -> None:
    inner = Scripted(*answer("Hi"))
    events = await events_of(Rag(inner, retriever), ask("hello"))
    assert events[1] == Status("retrieving", 1, 3, "nothing relevant in the documents", events[1].ms)  # type: ignore[union-attr]
    assert inner.requests[0].messages == (Message("system", SYSTEM), Message("user", "hello"))


async def test_the_prompt_only_grows(retriever: FolderRetriever) -> None:
    inner = Scripted(*answer("Yes [S1]."))
    await events_of(Rag(inner, retriever, Options(top_k=1)), ask(PAUSE))
    history = (Message("user", PAUSE, (PAUSE_SOURCE,)), Message("assistant", "Yes [S1]."))
    await events_of(Rag(inner, retriever), ChatRequest((*history, Message("user", "and on the Team plan?"))))
    first, second = (request.messages for request in inner.requests)
    assert second[: len(first)] == first
    assert second[-1].content.startswith("Sources:\n[S1] ")
    assert second[-1].content.endswith("\n\nQuestion: and on the Team plan?")
    assert all(
        title in second[-1].content for title in ("] Plans > Team plans: ", "] Plans > Pausing a subscription: ")
    )
    assert not any(message.sources for message in second)


async def test_without_documents_nothing_is_added() -> None:
    inner = Scripted(*answer("row", "[S", "1]", latency=3.0))
    events = await events_of(Rag(inner, None), ask(PAUSE, max_tokens=7))
    assert inner.requests == [ask(PAUSE, max_tokens=7)]
    assert events[:-1] == [Token("row"), Token("[S"), Token("1]")]
    assert isinstance(events[-1], Done)


async def test_docs_false_answers_without_retrieval_but_keeps_what_was_asked(retriever: FolderRetriever) -> None:
    inner = Scripted(*answer("Yes"))
    rag = Rag(inner, retriever)
    events = await events_of(rag, ask("hello", docs=False))
    assert events[0] == Token("Yes")
    assert inner.requests[0] == ask("hello", docs=False)
    history = (Message("user", PAUSE, (PAUSE_SOURCE,)), Message("assistant", "Yes."), Message("user", "Sure?"))
    await events_of(rag, ChatRequest(history, docs=False))
    assert [message.content for message in inner.requests[1].messages] == [SYSTEM, PAUSE_TURN, "Yes.", "Sure?"]


async def test_a_cut_answer_goes_on_with_its_own_sources(retriever: FolderRetriever) -> None:
    kept = Citation("old.md", "S1", "Old", "", "As it was.")
    inner = Scripted(*answer(" so [S1", "] [S2]"))
    request = ChatRequest((Message("user", PAUSE, (kept,)),), continue_from="Yes [S1],")
    events = await events_of(Rag(inner, retriever), request)
    assert not any(isinstance(event, Status | Citation) for event in events)
    assert "".join(event.text for event in events if isinstance(event, Token)) == " so [S1] "
    assert inner.requests[0].continue_from == "Yes [S1],"
    assert "As it was." in inner.requests[0].messages[-1].content


async def test_an_answer_without_new_sources_may_cite_the_last_ones(retriever: FolderRetriever) -> None:
    inner = Scripted(*answer("As in [S1]."))
    history = (Message("user", PAUSE, (PAUSE_SOURCE,)), Message("assistant", "Yes."), Message("user", "why?"))
    events = await events_of(Rag(inner, retriever), ChatRequest(history))
    assert PAUSE_SOURCE in events
    assert Token("As in [S1].") in events


async def test_counts_stay_right_when_text_is_held_back_or_removed(retriever: FolderRetriever) -> None:
    script = [
        Token("a"),
        Reasoning("hm [S1]", 3),
        Token(" [S9", 2),
        Token("]", 1),
        Token("b", 0),
        Token(" [S", 4),
        Done(8, 1.0),
    ]
    events = await events_of(Rag(Scripted(*script), retriever), ask(PAUSE))
    assert events[5:-1] == [
        Token("a"),
        Reasoning("hm [S1]", 3),
        Token(" ", 2),
        Token("b", 1),
        Token(" ", 4),
        Token("[S", 0),
    ]
    removed = await events_of(Rag(Scripted(*answer("x", "[S9]")), retriever), ask(PAUSE))
    assert removed[5:-1] == [Token("x"), Token("")]


async def test_log_probabilities_come_with_the_text(retriever: FolderRetriever) -> None:
    one, two = Logprob("[S", -0.5), Logprob("1]", -0.25)
    script = (Token("[S", logprobs=(one,)), Token("1]", logprobs=(two,)), Done(2, 1.0))
    events = await events_of(Rag(Scripted(*script), retriever, Options(top_k=1)), ask(PAUSE))
    assert events[-2] == Token("[S1]", 2, (one, two))


@pytest.mark.parametrize("ending", [(), (Error("TIMEOUT_IDLE", "slow"),)])
async def test_held_text_comes_out_before_any_ending(retriever: FolderRetriever, ending: tuple[Event, ...]) -> None:
    events = await events_of(Rag(Scripted(Token("so [S"), *ending), retriever), ask(PAUSE))
    assert events[5:] == [Token("so "), Token("[S", 0), *ending]


async def test_closing_the_stream_closes_the_inner_one_at_once(retriever: FolderRetriever) -> None:
    inner = Scripted(Token("Yes"), Hold())
    async with aclosing(Rag(inner, retriever).stream(ask(PAUSE))) as stream:
        async for event in stream:
            if event == Token("Yes"):
                break
        assert inner.streaming == 1
    assert (inner.streaming, inner.cut) == (0, 1)


async def test_cancelling_the_reader_closes_the_inner_stream(retriever: FolderRetriever) -> None:
    hold = Hold()
    inner = Scripted(Token("Yes"), hold)
    task = asyncio.create_task(events_of(Rag(inner, retriever), ask(PAUSE)))
    await hold.reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (inner.streaming, inner.cut) == (0, 1)


class Stuck:
    """A retriever that never answers, or fails."""

    def __init__(self, error: BackendError | None = None) -> None:
        self.error = error
        self.asked = asyncio.Event()
        self.queries: list[Query] = []

    async def prepare(self) -> None:
        if self.error is not None:
            raise self.error

    async def retrieve(self, query: Query, limit: int) -> Found:
        self.queries.append(query)
        self.asked.set()
        await self.prepare()
        await asyncio.Event().wait()
        raise AssertionError

    async def aclose(self) -> None:
        self.asked.clear()


async def test_cancelling_a_retrieval_never_asks_the_model() -> None:
    inner, stuck = Scripted(*answer("Yes")), Stuck()
    task = asyncio.create_task(events_of(Rag(inner, stuck), ask(PAUSE)))
    await stuck.asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert inner.requests == []


async def test_the_stable_prefix_is_warmed_while_the_documents_are_searched() -> None:
    inner, stuck = Scripted(*answer("Yes")), Stuck()
    task = asyncio.create_task(events_of(Rag(inner, stuck), ask("Hello", "Hi.", PAUSE)))
    await stuck.asked.wait()
    assert [[message.content for message in request.messages] for request in inner.warmed] == [[SYSTEM, "Hello", "Hi."]]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_warming_that_takes_longer_than_the_search_holds_nobody_up(retriever: FolderRetriever) -> None:
    class Slow(Scripted):
        """Never done with warming."""

        async def warm(self, request: ChatRequest) -> None:
            await asyncio.Event().wait()

    events = await events_of(Rag(Slow(*answer("Yes")), retriever), ask(PAUSE))
    assert isinstance(events[-1], Done)


async def test_a_failed_retrieval_is_an_error_event() -> None:
    inner = Scripted(*answer("Yes"))
    failing = Stuck(BackendError(Code.INTERNAL, "the index is broken", retryable=True))
    events = await events_of(Rag(inner, failing), ask(PAUSE))
    assert events == [Status("retrieving", 1, 3), Error("INTERNAL", "the index is broken", retryable=True)]
    assert inner.requests == []


async def test_a_missing_folder_is_named_in_the_error(tmp_path: Path) -> None:
    retriever = FolderRetriever(Index([tmp_path / "nowhere"]))
    events = await events_of(Rag(Scripted(), retriever), ask(PAUSE))
    error = events[-1]
    assert isinstance(error, Error)
    assert error.code == "NOT_FOUND"
    assert str(tmp_path / "nowhere") in error.message
    await retriever.aclose()


async def test_after_closing_a_stream_ends_with_an_error(folder: Path) -> None:
    inner = Scripted(*answer("Yes"))
    rag = Rag(inner, FolderRetriever(Index([folder])))
    await rag.aclose()
    events = await events_of(rag, ask(PAUSE))
    assert isinstance(events[-1], Error)
    assert events[-1].code == "SHUTDOWN"
    assert inner.closed


async def test_warming_passes_on_what_is_certain(retriever: FolderRetriever) -> None:
    inner = Scripted()
    rag = Rag(inner, retriever)
    history = (Message("user", PAUSE, (PAUSE_SOURCE,)), Message("assistant", "Yes."))
    for messages in ((), (Message("user", "Can I pa"),), (*history, Message("user", "and for")), history):
        await rag.warm(ChatRequest(messages))
    await rag.warm(ChatRequest((Message("user", "Can I pa"),), docs=False))
    assert [[message.content for message in request.messages] for request in inner.warmed] == [
        [SYSTEM],
        [SYSTEM],
        [SYSTEM, PAUSE_TURN, "Yes."],
        [SYSTEM, PAUSE_TURN, "Yes."],
        ["Can I pa"],
    ]


async def test_warming_never_fails() -> None:
    inner = Scripted()
    await Rag(inner, Stuck(BackendError(Code.NOT_FOUND, "gone"))).warm(ask(PAUSE))
    assert len(inner.warmed) == 1


async def test_options_bound_what_is_put_before_the_question(retriever: FolderRetriever) -> None:
    inner = Scripted(*answer("Yes"))
    question = "plan subscription refund invoice"
    await events_of(Rag(inner, retriever, Options(top_k=2)), ask(question))
    await events_of(Rag(inner, retriever, Options(token_budget=30), lambda text: len(text.split())), ask(question))
    two, small = (request.messages[-1].content for request in inner.requests)
    assert two.count("[/S") == 2
    assert len(small.removesuffix(question).split()) <= 30
    assert "[/S1]" in small


async def test_sources_take_what_the_conversation_and_its_answer_leave(retriever: FolderRetriever) -> None:
    def rag(size: int) -> tuple[Rag, Scripted]:
        inner = Scripted(*answer("Yes"))
        return Rag(inner, retriever, Options(top_k=3), lambda text: len(text.split()), lambda: size), inner

    request = ask("Hello there", "Hi.", "plan subscription refund invoice", max_tokens=100)
    taken = len(f"{SYSTEM} Hello there Hi. plan subscription refund invoice".split()) + 4 * 8 + 100
    for room, sources in ((0, 0), (25, 1), (1000, 3)):
        backend, inner = rag(taken + room)
        events = await events_of(backend, request)
        asked = inner.requests[0].messages[-1].content
        assert asked.count("[/S") == sources
        assert len(asked.split()) - 4 <= room or not sources
        (said,) = [event.detail for event in events if isinstance(event, Status) and event.ms and event.step == 1]
        assert ("no room" in said) == (not sources)


async def test_a_reranking_model_has_the_last_word(retriever: FolderRetriever) -> None:
    class Backwards:
        """Prefers what the words put last."""

        def score(self, query: str, texts: Sequence[str]) -> list[float]:
            return [float(i) for i, _ in enumerate(texts)]

        def close(self) -> None:
            closed.append(True)

    closed: list[bool] = []
    question = "plan subscription refund invoice"
    plain, reversed_ = Scripted(*answer("Yes")), Scripted(*answer("Yes"))
    await events_of(Rag(plain, retriever), ask(question))
    rag = Rag(reversed_, retriever, relevance=Relevance(Backwards))
    await events_of(rag, ask(question))
    first = [line for line in plain.requests[0].messages[-1].content.splitlines() if line.startswith("[S1]")]
    last = [line for line in reversed_.requests[0].messages[-1].content.splitlines() if line.startswith("[S1]")]
    assert first != last
    await rag.aclose()
    assert closed == [True]


async def test_without_a_question_the_request_passes(retriever: FolderRetriever) -> None:
    inner = Scripted(*answer("Yes"))
    events = await events_of(Rag(inner, retriever), ChatRequest((Message("system", "Be brief."),)))
    assert events[0] == Token("Yes")


async def test_the_event_loop_goes_on_while_the_index_works(folder: Path) -> None:
    for i in range(300):
        (folder / f"{i}.md").write_text(f"# Number {i}\n\n" + f"About subscription number {i}. " * 30)
    retriever = FolderRetriever(Index([folder]))
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.create_task(count())
    await events_of(Rag(Scripted(*answer("Yes")), retriever), ask(PAUSE))
    counting.cancel()
    assert turns > 50
    await retriever.aclose()
