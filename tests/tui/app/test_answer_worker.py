"""The bridge: what the events of a backend become on the timeline, in the view and in the history."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import pytest

from backends.backend import Backend, ChatRequest
from backends.errors import BackendError, Code
from backends.events import Citation, Done, Error, Event, Meta, Reasoning, Status, Token
from tests.fakes.scripted import Hold, Scripted, answer
from tui.answer_worker import SAVE_EVERY, AnswerWorker
from tui.history.conversation import Conversation, Turn
from tui.history.history import History

S1 = Citation("refunds.md", "S1", snippet="Within 14 days.")
S2 = Citation("plans.md", "S2")


class View:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.said: list[tuple[str, object]] = []
        self.drawn: list[Callable[[], None]] = []

    def answer_status(self, turn: Turn, status: Status) -> None:
        self.said.append(("status", status.status))

    def answer_text(self, turn: Turn, piece: str) -> None:
        self.said.append(("text", piece))

    def answer_reasoning(self, turn: Turn, piece: str) -> None:
        self.said.append(("reasoning", piece))

    def answer_citations(self, turn: Turn) -> None:
        self.said.append(("citations", [citation.id for citation in turn.citations]))

    def when_shown(self, callback: Callable[[], None]) -> None:
        self.drawn.append(callback)

    def answer_ended(self, turn: Turn) -> None:
        self.said.append(("ended", turn.outcome))


class Bench:
    """A worker with everything around it, and one question asked."""

    def __init__(self, *script: Event | Hold | Exception) -> None:
        self.backend = Scripted(*script)
        self.view = View()
        self.history = History(None)
        self.conversation = Conversation(self.history)
        self.question = self.conversation.ask("How long do refunds take?", "demo")
        self.turn = self.conversation.begin_answer("demo")
        self.now = 100.0
        self.worker = AnswerWorker(self.view, lambda: self.now)

    async def ready(self) -> Backend:
        return self.backend

    def start(self) -> asyncio.Task[None]:
        self.run = self.worker.begin(self.turn, self.conversation, self.now)
        request = ChatRequest(self.conversation.messages())
        return asyncio.create_task(self.worker.stream(self.run, self.ready, request))

    @property
    def stored(self) -> tuple[str, str]:
        assert self.conversation.id is not None
        message = self.history.thread(self.conversation.id)[-1]
        return message.content, message.outcome


async def test_a_complete_answer() -> None:
    bench = Bench(
        Status("retrieving", passages=(S1, S2)),
        Reasoning("hm"),
        Token("Within 14 days "),
        Token("[S1]."),
        S1,
        S1,
        Meta(model="smol", prompt_tokens=40),
        Done(2, 5.0),
    )
    await bench.start()
    assert bench.view.said == [
        ("status", "retrieving"),
        ("reasoning", "hm"),
        ("text", "Within 14 days "),
        ("text", "[S1]."),
        ("citations", ["S1"]),
        ("ended", "complete"),
    ]
    assert bench.stored == ("Within 14 days [S1].", "complete")
    assert bench.turn.model == "smol"
    assert bench.turn.reasoning == "hm"
    assert bench.question.sources == (S1, S2)
    assert bench.turn.timeline is not None
    assert bench.turn.timeline.usage.prompt_tokens == 40
    assert bench.worker.turn is None
    assert bench.backend.ended == 1


async def test_a_request_has_left_when_the_backend_says_more_than_that_it_connects() -> None:
    connecting, waiting = Hold(), Hold()
    bench = Bench(Status("connecting"), connecting, Status("waiting"), waiting, Done(0, 1.0))
    task = bench.start()
    await connecting.reached.wait()
    await bench.run.has_left(0.001)
    assert not bench.run.left.is_set()
    connecting.release()
    await bench.run.has_left(60)
    assert waiting.reached.is_set()
    waiting.release()
    await task


async def test_nobody_waits_for_a_request_that_was_cancelled_before_it_left() -> None:
    hold = Hold()
    bench = Bench(hold, Done(0, 1.0))
    task = bench.start()
    await hold.reached.wait()
    bench.worker.cancel()
    await bench.run.has_left(60)
    await task


async def test_the_first_token_is_drawn_once() -> None:
    hold = Hold()
    bench = Bench(Token("Within "), Token("14 "), hold, Token("days."), Done(3, 1.0))
    task = bench.start()
    await hold.reached.wait()
    bench.now += 0.012
    (drawn,) = bench.view.drawn
    drawn()
    hold.release()
    await task
    assert len(bench.view.drawn) == 1
    assert bench.turn.timeline is not None
    (span,) = [span for span in bench.turn.timeline.spans(0) if span.stage == "render"]
    assert (round(span.duration, 3), span.by) == (12, "client")


async def test_times_count_from_enter() -> None:
    hold = Hold()
    bench = Bench(Status("prefilling"), hold, Token("a"), Done(1, 1.0))
    task = bench.start()
    bench.now += 0.25
    await hold.reached.wait()
    assert bench.worker.elapsed_ms == pytest.approx(250)
    bench.now += 0.5
    hold.release()
    await task
    timeline = bench.turn.timeline
    assert timeline is not None
    assert timeline.call_ms == pytest.approx(250)
    assert timeline.first_token_ms == pytest.approx(750)


@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        ((Token("part"), Done(1, 1.0, "length")), "truncated"),
        ((Token("part"), Done(1, 1.0, "cancelled")), "cancelled"),
        ((Token("part"), Error("HTTP_503", "overloaded", retryable=True)), "interrupted"),
        ((Token("part"), Error("INTERRUPTED", "the server went away")), "interrupted"),
        ((Token("part"),), "interrupted"),
        ((Token("part"), BackendError(Code.TIMEOUT_IDLE, "nothing came")), "interrupted"),
    ],
)
async def test_every_ending_keeps_the_text(script: tuple[Event | Exception, ...], outcome: str) -> None:
    bench = Bench(*script)
    await bench.start()
    assert bench.turn.outcome == outcome
    assert bench.stored == ("part", outcome)
    assert bench.view.said[-1] == ("ended", outcome)


async def test_a_defect_of_the_backend_is_logged_and_shown_without_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench(Token("part"), ZeroDivisionError("secret detail"))
    with caplog.at_level(logging.ERROR):
        await bench.start()
    assert bench.turn.timeline is not None
    error = bench.turn.timeline.error
    assert error is not None
    assert error.code == Code.INTERNAL
    assert "secret detail" not in error.message
    assert "ZeroDivisionError" in caplog.text
    assert bench.stored == ("part", "interrupted")


async def test_a_backend_that_cannot_be_opened() -> None:
    bench = Bench()

    async def broken() -> Backend:
        raise BackendError(Code.MODEL_LOAD, "model.gguf: not a GGUF file")

    run = bench.worker.begin(bench.turn, bench.conversation, bench.now)
    await bench.worker.stream(run, broken, ChatRequest(()))
    assert bench.turn.outcome == "failed"
    assert bench.turn.timeline is not None
    assert bench.turn.timeline.error == Error("MODEL_LOAD", "model.gguf: not a GGUF file")


async def test_cancel_is_final_at_once_and_closes_the_stream() -> None:
    hold = Hold()
    bench = Bench(Token("half "), Token("an"), hold, Token(" answer"), Done(3, 1.0))
    task = bench.start()
    await hold.reached.wait()
    assert bench.worker.cancel()
    assert bench.turn.outcome == "cancelled"  # before anything else could run
    assert bench.stored == ("half an", "cancelled")
    assert bench.worker.turn is None
    await task
    assert (bench.backend.streaming, bench.backend.cut) == (0, 1)
    assert bench.view.said[-1] == ("ended", "cancelled")
    assert not bench.worker.cancel()


async def test_cancel_before_the_backend_is_there() -> None:
    bench = Bench()
    waiting = asyncio.Event()

    async def never() -> Backend:
        waiting.set()
        await asyncio.Event().wait()
        raise AssertionError

    run = bench.worker.begin(bench.turn, bench.conversation, bench.now)
    task = asyncio.create_task(bench.worker.stream(run, never, ChatRequest(())))
    await waiting.wait()
    bench.worker.cancel()
    await task
    assert bench.turn.outcome == "cancelled"


async def test_cancel_before_the_stream_has_begun_sends_nothing() -> None:
    bench = Bench(*answer("never"))
    task = bench.start()
    bench.worker.cancel()
    await task
    assert bench.backend.requests == []
    assert bench.stored == ("", "cancelled")


async def test_what_a_backend_says_after_the_cancel_is_not_heard() -> None:
    hold = Hold()

    class Stubborn(Scripted):
        async def _play(self):  # type: ignore[no-untyped-def]
            try:
                yield Token("kept")
                await hold.wait()
            except asyncio.CancelledError:
                yield Token(" late")
                raise

    bench = Bench()
    bench.backend = Stubborn()
    task = bench.start()
    await hold.reached.wait()
    bench.worker.cancel()
    await task
    assert bench.stored == ("kept", "cancelled")


async def test_the_next_answer_does_not_wait_for_a_cancelled_one_to_tidy_up() -> None:
    tidy, hold = asyncio.Event(), Hold()

    class Slow(Scripted):
        async def _play(self):  # type: ignore[no-untyped-def]
            try:
                yield Token("first")
                await hold.wait()
            finally:
                await tidy.wait()

    bench = Bench()
    bench.backend = Slow()
    first = bench.start()
    await hold.reached.wait()
    bench.worker.cancel()

    bench.backend = Scripted(*answer("second"))
    bench.turn = bench.conversation.begin_answer("demo")
    await bench.start()
    assert bench.stored == ("second", "complete")
    assert not first.done()
    tidy.set()
    await first


async def test_only_one_answer_at_a_time() -> None:
    hold = Hold()
    bench = Bench(hold)
    task = bench.start()
    await hold.reached.wait()
    with pytest.raises(RuntimeError):
        bench.worker.begin(bench.turn, bench.conversation, bench.now)
    bench.worker.cancel()
    await task


async def test_cancelling_the_task_saves_and_closes() -> None:
    hold = Hold()
    bench = Bench(Token("half"), hold)
    task = bench.start()
    await hold.reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert bench.stored == ("half", "cancelled")
    assert bench.backend.cut == 1


async def test_text_is_saved_while_it_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.answer_worker.SAVE_EVERY", SAVE_EVERY / 100)
    hold = Hold()
    bench = Bench(Token("so far"), hold, Done(1, 1.0))
    saved = asyncio.Event()
    save = bench.conversation.save

    def watch(turn: Turn) -> None:
        save(turn)
        saved.set()

    monkeypatch.setattr(bench.conversation, "save", watch)
    task = bench.start()
    await hold.reached.wait()
    async with asyncio.timeout(10):
        await saved.wait()
    assert bench.stored == ("so far", "running")
    hold.release()
    await task


async def test_a_continuation_goes_on_in_the_same_turn() -> None:
    bench = Bench(Token("one "), S1, Done(1, 1.0, "length"))
    await bench.start()
    bench.backend = Scripted(Token("two"), S1, S2, Done(1, 1.0))
    await bench.start()
    assert bench.stored == ("one two", "complete")
    assert [citation.id for citation in bench.turn.citations] == ["S1", "S2"]


async def test_the_stored_timeline_can_be_read_back() -> None:
    bench = Bench(*answer("a", "b"))
    await bench.start()
    assert bench.conversation.id is not None
    again = Conversation(bench.history, bench.conversation.id)
    assert again.answer is not None
    assert again.answer.timeline is not None
    assert again.answer.timeline.tokens == 2
