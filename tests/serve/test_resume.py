"""A lost connection: the answer stands still, and goes on where its reader stopped. With a real engine."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from httpx_sse import EventSource, aconnect_sse
from starlette.types import Send

from backends import events
from backends.backend import ChatRequest, Message, Sampling
from backends.engine import Engine
from backends.events import Done, Error, Event, Meta, Status, Token, is_terminal
from backends.providers.native import Native
from backends.providers.openai import OpenAI
from backends.providers.openai import Options as OpenAIOptions
from backends.serve.stream import Stream
from tests.engine.answers import read
from tests.engine.conftest import StartEngine, starting
from tests.fakes.cutting_proxy import cutting_proxy
from tests.fakes.gguf_model import write_model
from tests.fakes.openai_server import openai_server
from tests.fakes.scripted import Hold, Scripted, answer
from tests.serve.conftest import CHAT, PATIENCE, Service, Start, eventually

LONG = 1500
"""Tokens of an answer that does not end by itself before it is cut."""


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that never ends by itself."""
    return write_model(tmp_path_factory.mktemp("models") / "resumed.gguf", context=2048)


@pytest.fixture
async def engine(model: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[StartEngine]:
    """See `starting`."""
    async with starting(model, monkeypatch) as start:
        yield start


def request(content: str = "pause the plan", max_tokens: int = 120) -> ChatRequest:
    """A sampled answer that is the same every time."""
    return ChatRequest((Message("user", content),), max_tokens=max_tokens, sampling=Sampling(temperature=1.0, seed=7))


def body(content: str = "pause the plan", max_tokens: int = LONG) -> dict[str, Any]:
    """The same on the wire."""
    return {
        "messages": [{"role": "user", "content": content}],
        "max_tokens": max_tokens,
        "sampling": {"temperature": 1.0, "seed": 7},
    }


async def ask(url: str, asked: ChatRequest) -> list[Event]:
    """One answer of the service at `url`."""
    native = Native(url)
    try:
        async with asyncio.timeout(PATIENCE):
            return [event async for event in native.stream(asked)]
    finally:
        await native.aclose()


def text_of(got: list[Event]) -> str:
    """All text, from its tokens."""
    return "".join(event.text for event in got if isinstance(event, Token))


def tokens_of(got: list[Event]) -> int:
    """How many tokens came."""
    return sum(event.count for event in got if isinstance(event, Token))


def resumed(got: list[Event]) -> int:
    """How often the client said that it resumes."""
    return sum(event == Status("connecting", detail="resuming") for event in got)


def running(engine: Engine) -> list[Any]:
    """The sequences that have a slot."""
    assert engine._steps is not None
    return list(engine._steps._running)


async def read_some(service: Service, asked: dict[str, Any], kind: type[Event] = Token) -> tuple[str, int, str]:
    """Read up to the first event of `kind` and hang up: the stream's id, the last event's number, the text so far."""
    text = ""
    async with aconnect_sse(service.http, "POST", "/v1/chat", json=asked) as source:
        async for frame in source.aiter_sse():
            event = events.decode(frame.event, frame.data)
            text += event.text if isinstance(event, Token) else ""
            if isinstance(event, kind):
                return source.response.headers["x-llmchat-id"], int(frame.id), text
    raise AssertionError(f"no {kind.__name__} came")


async def rest(service: Service, stream_id: str, after: int, **headers: str) -> list[Event | None]:
    """What GET gives from there on."""
    headers["Last-Event-ID"] = str(after)
    async with (
        asyncio.timeout(PATIENCE),
        service.http.stream("GET", f"/v1/chat/{stream_id}/events", headers=headers) as response,
    ):
        assert response.status_code == 200
        return [events.decode(frame.event, frame.data) async for frame in EventSource(response).aiter_sse()]


async def status_of(service: Service, stream_id: str, after: int = 0, method: str = "GET", **headers: str) -> int:
    """The status of asking for the rest, or of DELETE."""
    path = f"/v1/chat/{stream_id}" + ("/events" if method == "GET" else "")
    return (await service.http.request(method, path, headers={"Last-Event-ID": str(after), **headers})).status_code


@asynccontextmanager
async def parked(service: Service, engine: Engine) -> AsyncIterator[tuple[str, int, str]]:
    """A long answer whose reader has gone in its middle, as `read_some` gives it."""
    found = await read_some(service, body())
    await eventually(lambda: any(it.is_parked for it in running(engine)))
    yield found


class TestCutAnywhere:
    async def test_no_token_is_lost_or_comes_twice(self, start: Start, engine: StartEngine) -> None:
        service = await start(await engine())
        whole = await ask(service.url, request())
        places = random.Random(5)
        cuts: list[int | bytes] = [places.randrange(300, 2500) for _ in range(8)]
        cuts += [b"event: done", b"totalTokens", b'data: {"status":"prefilling"', b'data: {"status":"generating"']
        happened = 0
        for cut in cuts:
            async with cutting_proxy(service.url, cut) as proxy:
                got = await ask(proxy.url, request())
            assert (text_of(got), tokens_of(got)) == (text_of(whole), 120), cut
            assert isinstance(got[-1], Done)
            assert sum(map(is_terminal, got)) == 1
            happened += resumed(got)
        assert happened >= len(cuts) - 4  # an answer whose tokens came in large pieces is shorter than 2,500 bytes

    async def test_cut_again_and_again(self, start: Start, engine: StartEngine) -> None:
        service = await start(await engine())
        whole = await ask(service.url, request())
        async with cutting_proxy(service.url, 900, 600, 20, 600) as proxy:
            got = await ask(proxy.url, request())
            assert len(proxy.received) >= 5
        assert (text_of(got), tokens_of(got)) == (text_of(whole), 120)
        assert resumed(got) >= 1  # as often as something came in between

    async def test_cut_before_the_answer_began_it_is_asked_for_again(self, start: Start, engine: StartEngine) -> None:
        """By the same key, so that it is the same answer and not a second one."""
        made = await engine()
        service = await start(made)
        whole = await ask(service.url, request())
        async with cutting_proxy(service.url, 10) as proxy:
            got = await ask(proxy.url, request())
        assert text_of(got) == text_of(whole)
        assert Status("connecting", detail="once more") in got
        await eventually(lambda: not running(made))

    async def test_the_server_need_not_have_noticed(self, start: Start, engine: StartEngine) -> None:
        service = await start(await engine())
        whole = await ask(service.url, request())
        async with cutting_proxy(service.url, 1500, quietly=True) as proxy:
            got = await ask(proxy.url, request())
        assert (text_of(got), resumed(got)) == (text_of(whole), 1)

    async def test_through_a_second_service(self, start: Start, engine: StartEngine) -> None:
        """The one in the middle hangs up on the one behind it, and comes back when its own reader does."""
        made = await engine()
        behind = await start(made)
        native = Native(behind.url)
        service = await start(native)
        async with parked(service, made) as (stream_id, after, text):
            got = await rest(service, stream_id, after)
        await native.aclose()
        alone = await ask(behind.url, request(max_tokens=LONG))
        assert text + text_of([event for event in got if event is not None]) == text_of(alone)

    async def test_what_the_gap_took_is_accounted_for(self, start: Start, engine: StartEngine) -> None:
        service = await start(await engine())
        async with cutting_proxy(service.url, 1200) as proxy:
            got = await ask(proxy.url, request())
        gaps = [span for event in got if isinstance(event, Meta) for span in event.spans if span.by == "derived"]
        gap = next(span for span in gaps if span.stage == "connect")
        assert gap.duration > 0

    async def test_taken_over_when_all_is_said(
        self, start: Start, engine: StartEngine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        service = await start(await engine())
        write = Stream.write

        async def then_taken_over(self: Stream, send: Send, after: int) -> None:
            await write(self, send, after)
            service.streams._readers[self.id].take_over()

        monkeypatch.setattr(Stream, "write", then_taken_over)
        assert isinstance((await ask(service.url, request()))[-1], Done)
        await eventually(lambda: not service.streams._readers)
        assert "Exception" not in caplog.text

    async def test_paused_again_before_the_first_pause_was_noticed(self, start: Start, engine: StartEngine) -> None:
        service = await start(await engine())
        whole = await ask(service.url, request())
        native = Native(service.url)
        reading = asyncio.create_task(read(native.stream(msgspec.structs.replace(request(), key="k"))))
        await eventually(lambda: "k" in native._answers)
        for _ in range(5):
            await eventually(lambda: reading.done() or native._answers["k"]._scope is not None)
            native.pause("k")
            await asyncio.sleep(0)
            native.pause("k")
            native.resume("k")
        assert text_of((await reading).events) == text_of(whole)
        await native.aclose()


class TestStandingStill:
    async def test_nothing_is_computed(
        self, start: Start, engine: StartEngine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = await engine()
        service = await start(made)
        async with parked(service, made):
            (sequence,) = running(made)
            before = len(sequence.tokens)
            await ask(service.url, request("refund", 20))  # others go on meanwhile
            assert len(sequence.tokens) == before < LONG
            assert len(service.streams) == 1

    async def test_in_its_prefill(self, start: Start, engine: StartEngine) -> None:
        made = await engine(prefill_chunk=16)
        service = await start(made)
        asked = body("the annual plan and the refund " * 50, 40)
        stream_id, after, _ = await read_some(service, asked, Status)
        got = await rest(service, stream_id, after)
        alone = await ask(service.url, request("the annual plan and the refund " * 50, 40))
        assert text_of([event for event in got if event]) == text_of(alone)

    async def test_in_the_line(self, start: Start, engine: StartEngine) -> None:
        made = await engine(max_streams=1)
        service = await start(made)
        hold = asyncio.create_task(ask(service.url, request("invoice", LONG)))
        await eventually(lambda: bool(running(made)))
        stream_id, after, _ = await read_some(service, body("refund", 40), Status)
        assert made._steps is not None
        waiting = made._steps._queue._waiting
        await eventually(lambda: [it.is_parked for it in waiting] == [True])
        got = await rest(service, stream_id, after)
        await hold
        assert text_of([event for event in got if event]) == text_of(await ask(service.url, request("refund", 40)))

    async def test_when_the_grace_is_over_its_place_is_free_and_its_prefix_is_kept(
        self, start: Start, engine: StartEngine
    ) -> None:
        made = await engine()
        service = await start(made, resume_grace=0.2)
        asked = "the annual plan and the refund " * 10
        stream_id, *_ = await read_some(service, body(asked))
        await eventually(lambda: not running(made) and not service.streams)
        assert await status_of(service, stream_id) == 404
        again = await ask(service.url, request(asked, 4))
        assert max(event.cached_tokens or 0 for event in again if isinstance(event, Meta)) > 50
        assert (made._submitted, made._paused) == ({}, set())

    @pytest.mark.parametrize(
        ("streams", "limits"), [(1, {}), (4, {"max_running": 1, "max_queue": 0}), (4, {"max_running": 1})]
    )
    async def test_it_gives_way(self, start: Start, engine: StartEngine, streams: int, limits: dict[str, int]) -> None:
        """To who waits for the engine, or before it for the service."""
        made = await engine(max_streams=streams)
        service = await start(made, **limits)
        async with parked(service, made) as (stream_id, after, text):
            assert isinstance((await ask(service.url, request("refund", 20)))[-1], Done)
            got = await rest(service, stream_id, after)
        error = got[-1]
        assert isinstance(error, Error)
        assert (error.code, error.retryable) == ("INTERRUPTED", True)
        alone = text_of(await ask(service.url, request(max_tokens=LONG)))
        assert alone.startswith(text + text_of([event for event in got if event]))

    async def test_it_is_cancelled(self, start: Start, engine: StartEngine) -> None:
        made = await engine()
        service = await start(made)
        async with parked(service, made) as (stream_id, after, _):
            assert await status_of(service, stream_id, method="DELETE") == 204
            await eventually(lambda: not running(made))
            done = (await rest(service, stream_id, after))[-1]
        assert isinstance(done, Done)
        assert done.finish_reason == "cancelled"
        assert await status_of(service, stream_id, method="DELETE") == 404

    async def test_a_cancel_of_ours_does_not_park(self, start: Start, engine: StartEngine) -> None:
        made = await engine()
        service = await start(made)
        native = Native(service.url)
        stream = native.stream(request(max_tokens=LONG))
        async for event in stream:
            if isinstance(event, Token):
                break
        await stream.aclose()
        await eventually(lambda: not running(made))
        assert len(service.streams) == 0
        await native.aclose()


class TestTheRest:
    async def test_the_tail_of_an_answer_that_has_ended(self, start: Start) -> None:
        service = await start(Scripted(*answer("a", "b")))
        response = await service.http.post("/v1/chat", json=CHAT)
        stream_id = response.headers["x-llmchat-id"]

        assert (await rest(service, stream_id, 2))[:1] == [Token("b")]
        assert await status_of(service, stream_id, 4) == 204
        assert await status_of(service, stream_id, 5) == 400
        assert (await service.http.get(f"/v1/chat/{stream_id}/events?after=x")).status_code == 400

    async def test_it_is_for_who_asked_only(self, start: Start) -> None:
        service = await start(Scripted(Token("a"), Hold()))
        headers = {"authorization": "Bearer one"}
        async with service.http.stream("POST", "/v1/chat", json=CHAT, headers=headers) as response:
            stream_id = response.headers["x-llmchat-id"]
            for method in ("GET", "DELETE"):
                assert await status_of(service, stream_id, method=method, authorization="Bearer two") == 404
            assert await status_of(service, stream_id, method="DELETE", **headers) == 204

    async def test_a_second_reader_takes_over(self, start: Start) -> None:
        hold = Hold()
        service = await start(Scripted(Token("a"), hold, *answer("b")))
        async with asyncio.timeout(PATIENCE), aconnect_sse(service.http, "POST", "/v1/chat", json=CHAT) as source:
            frames = source.aiter_sse()
            await anext(frames)
            second = asyncio.create_task(rest(service, source.response.headers["x-llmchat-id"], 0))
            got = [events.decode(frame.event, frame.data) async for frame in frames]
        assert isinstance(got[-1], Error)
        assert not got[-1].retryable
        hold.release()
        assert [event for event in await second if isinstance(event, Token)] == [Token("a"), Token("b")]

    async def test_a_provider_is_not_left_working(self, start: Start) -> None:
        """What costs money ends at once; the text so far can still be had."""
        async with openai_server() as server:
            backend = OpenAI(OpenAIOptions(url=server.url))
            service = await start(backend)
            asked = {"messages": [{"role": "user", "content": "forever and ever"}]}
            stream_id, after, _ = await read_some(service, asked)
            await eventually(lambda: server.answering == 0)
            error = (await rest(service, stream_id, after))[-1]
            await backend.aclose()
        assert isinstance(error, Error)
        assert error.code == "INTERRUPTED"

    async def test_without_grace_there_is_nothing_to_come_back_to(self, start: Start, engine: StartEngine) -> None:
        made = await engine()
        service = await start(made, resume_grace=0.0)
        stream_id, after, _ = await read_some(service, body())
        await eventually(lambda: not running(made))
        assert await status_of(service, stream_id, after) == 404

    async def test_the_same_key_is_the_same_answer(self, start: Start) -> None:
        backend = Scripted(*answer("a"))
        service = await start(backend)
        headers = {"idempotency-key": "k"}
        first = await service.http.post("/v1/chat", json=CHAT, headers=headers)
        second = await service.http.post("/v1/chat", json=CHAT, headers=headers)
        other = await service.http.post("/v1/chat", json={**CHAT, "max_tokens": 3}, headers=headers)
        assert first.content == second.content
        assert other.status_code == 422
        assert len(backend.requests) == 1


async def test_what_was_read_to_its_end_is_not_kept_as_long_as_what_a_reader_missed(start: Start) -> None:
    backend = Scripted(*answer("a"))
    service = await start(backend, resume_grace=PATIENCE, read_grace=0.0)
    stream_id = (await service.http.post("/v1/chat", json=CHAT)).headers["x-llmchat-id"]
    await eventually(lambda: not service.streams._known)
    assert await status_of(service, stream_id) == 404
    backend.script = (Token("a"), Hold())
    missed, last, _ = await read_some(service, CHAT)
    await eventually(lambda: not len(service.streams))
    assert [type(event) for event in await rest(service, missed, last)] == [Error]


async def test_a_server_that_stays_away(start: Start, engine: StartEngine) -> None:
    """The text is kept, and the error says what was lost and why it could not be resumed."""
    service = await start(await engine(), resume_grace=0.3)
    async with cutting_proxy(service.url, 1500, 0, 0, 0, 0, 0, 0, 0) as proxy:
        got = await ask(proxy.url, request())
    error = got[-1]
    assert isinstance(error, Error)
    assert error.code == "INTERRUPTED"
    assert "could not be resumed" in error.message
    assert text_of(got)
    assert httpx.URL(proxy.url).host in error.message
