"""POST /v1/chat: the stream as it stands on the wire, and the ways in which it ends early."""

from __future__ import annotations

import asyncio
import logging

import httpx
import pytest
from httpx_sse import ServerSentEvent, aconnect_sse

from backends import events
from backends.backend import ChatRequest
from backends.errors import BackendError, Code
from backends.events import Done, Error, Event, Meta, Status, Token
from backends.telemetry.stages import Span
from tests.fakes.scripted import Hold, Scripted, answer
from tests.serve.conftest import CHAT, PATIENCE, Service, Start, eventually


async def frames(service: Service, body: object = CHAT) -> list[ServerSentEvent]:
    """All events of one answer."""
    async with asyncio.timeout(PATIENCE), aconnect_sse(service.http, "POST", "/v1/chat", json=body) as source:
        return [frame async for frame in source.aiter_sse()]


async def read(service: Service) -> list[Event | None]:
    """The same, decoded."""
    return [events.decode(frame.event, frame.data) for frame in await frames(service)]


class TestTheStream:
    async def test_every_event_arrives_in_order_with_an_id(self, start: Start) -> None:
        script = (Status("queued", position=2), Token("Hello"), Token("\nyou"), Error("X", "no"))
        service = await start(Scripted(*script))

        got = await frames(service)

        assert [frame.id for frame in got] == ["1", "2", "3", "4", "5"]
        assert [events.decode(frame.event, frame.data) for frame in got[1:]] == list(script)

    async def test_the_first_event_and_a_header_give_an_unguessable_id(self, start: Start) -> None:
        service = await start(Scripted(*answer("a")))
        ids = set()
        for _ in range(2):
            async with aconnect_sse(service.http, "POST", "/v1/chat", json=CHAT) as source:
                first = await anext(source.aiter_sse())
                meta = events.decode(first.event, first.data)
                assert isinstance(meta, Meta)
                assert meta.request_id == source.response.headers["x-llmchat-id"]
                assert meta.latency is not None
                ids.add(meta.request_id)
        assert len(ids) == 2
        assert min(map(len, ids)) >= 32

    async def test_headers_that_keep_proxies_from_buffering(self, start: Start) -> None:
        service = await start(Scripted(*answer("a")))

        response = await service.http.post("/v1/chat", json=CHAT)

        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert response.headers["x-accel-buffering"] == "no"
        assert "no-store" in response.headers["cache-control"]
        assert "content-length" not in response.headers

    async def test_the_backend_gets_the_request_as_it_was_sent(self, start: Start) -> None:
        backend = Scripted(*answer("a"))
        service = await start(backend)
        body = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 7, "sampling": {"temperature": 0.0}}

        await frames(service, body)

        (request,) = backend.requests
        assert isinstance(request, ChatRequest)
        assert (request.messages[0].content, request.max_tokens, request.sampling.temperature) == ("hi", 7, 0.0)

    async def test_times_count_from_the_requests_arrival(self, start: Start) -> None:
        meta = Meta("m", 999.0, spans=(Span("prefill", 0.0, 3.0),))
        service = await start(Scripted(meta, Done(0, 9999.0)))

        _, placed, done = await read(service)

        assert isinstance(placed, Meta)
        assert isinstance(done, Done)
        assert placed.spans[0].offset > 0  # the backend was called after the request had arrived
        assert placed.spans[0].duration == 3.0
        assert placed.latency is not None
        assert placed.spans[0].offset < placed.latency <= done.latency < 999.0

    async def test_silence_is_filled_with_comments(self, start: Start) -> None:
        hold = Hold()
        service = await start(Scripted(hold, *answer("a")), ping_interval=0.05)

        async with asyncio.timeout(PATIENCE), service.http.stream("POST", "/v1/chat", json=CHAT) as response:
            text = ""
            async for piece in response.aiter_text():
                text += piece
                if text.count(": ping\n\n") == 3:
                    hold.release()

        assert "event: token" in text
        assert text.rstrip().endswith("}")

    async def test_the_connection_can_be_used_again(self, start: Start) -> None:
        service = await start(Scripted(*answer("a")))

        for _ in range(3):
            await frames(service)

        (connection,) = service.http._transport._pool.connections  # type: ignore[attr-defined]
        assert "Request Count: 3" in repr(connection)


class TestFailures:
    async def test_a_defect_of_the_backend_is_an_event_and_in_the_log(
        self, start: Start, caplog: pytest.LogCaptureFixture
    ) -> None:
        service = await start(Scripted(Token("a"), ZeroDivisionError("secret detail")))

        with caplog.at_level(logging.ERROR):
            got = await read(service)

        error = got[-1]
        assert isinstance(error, Error)
        assert error.code == Code.INTERNAL
        assert "secret" not in error.message
        assert "ZeroDivisionError: secret detail" in caplog.text
        assert isinstance(got[0], Meta)
        assert str(got[0].request_id) in caplog.text
        assert str(got[0].request_id) in error.message

    async def test_an_expected_failure_that_was_raised_is_passed_on(self, start: Start) -> None:
        service = await start(Scripted(BackendError(Code.OVERLOADED, "come back", retryable=True, retry_after=2.0)))

        assert (await read(service))[-1] == Error("OVERLOADED", "come back", True, 2.0)

    async def test_a_stream_that_just_stops_is_told(self, start: Start) -> None:
        service = await start(Scripted(Token("a")))

        error = (await read(service))[-1]

        assert isinstance(error, Error)
        assert (error.code, error.retryable) == ("INTERRUPTED", True)

    async def test_nothing_follows_the_end(self, start: Start) -> None:
        backend = Scripted(Done(0, 1.0), Token("late"))
        service = await start(backend)

        assert isinstance((await read(service))[-1], Done)
        assert backend.streaming == 0


class TestEndingEarly:
    async def test_delete_cancels(self, start: Start) -> None:
        hold = Hold()
        backend = Scripted(Token("a", 2), Token("b"), hold, Token("never"))
        service = await start(backend)

        async with asyncio.timeout(PATIENCE), aconnect_sse(service.http, "POST", "/v1/chat", json=CHAT) as source:
            got = []
            async for frame in source.aiter_sse():
                got.append(events.decode(frame.event, frame.data))
                if got[-1] == Token("b"):
                    await hold.reached.wait()
                    response = await service.http.delete(f"/v1/chat/{source.response.headers['x-llmchat-id']}")
                    assert response.status_code == 204

        done = got[-1]
        assert isinstance(done, Done)
        assert (done.finish_reason, done.total_tokens) == ("cancelled", 3)
        assert (backend.streaming, backend.cut) == (0, 1)
        await eventually(lambda: len(service.streams) == 0)

    async def test_delete_of_what_does_not_run(self, start: Start) -> None:
        service = await start(Scripted())

        response = await service.http.delete("/v1/chat/unknown")

        assert response.status_code == 404
        assert response.json()["error"]["code"] == "NOT_FOUND"

    async def test_a_disconnect_closes_the_backend_that_yields_nothing(self, start: Start) -> None:
        hold = Hold()
        backend = Scripted(hold)
        service = await start(backend)

        async with service.http.stream("POST", "/v1/chat", json=CHAT):
            await asyncio.wait_for(hold.reached.wait(), PATIENCE)

        await eventually(lambda: backend.streaming == 0)
        await eventually(lambda: len(service.streams) == 0)
        assert backend.cut == 1

    async def test_a_disconnect_touches_no_neighbour(self, start: Start) -> None:
        hold = Hold()
        backend = Scripted(Token("a"), hold, *answer("b"))
        service = await start(backend)
        neighbour = asyncio.create_task(read(service))
        await asyncio.wait_for(hold.reached.wait(), PATIENCE)

        async with service.http.stream("POST", "/v1/chat", json=CHAT):
            await eventually(lambda: backend.streaming == 2)
        await eventually(lambda: backend.streaming == 1)
        hold.release()

        assert isinstance((await neighbour)[-1], Done)

    async def test_no_tasks_are_left(self, start: Start) -> None:
        hold = Hold()
        service = await start(Scripted(Token("a"), hold))
        before = asyncio.all_tasks()

        async with service.http.stream("POST", "/v1/chat", json=CHAT):
            await asyncio.wait_for(hold.reached.wait(), PATIENCE)

        await eventually(lambda: asyncio.all_tasks() == before)


class Flood:
    """A backend that yields as fast as it is asked, and counts."""

    def __init__(self) -> None:
        self.yielded = 0

    async def stream(self, request: ChatRequest):  # type: ignore[no-untyped-def]
        """Endless tokens of 1 kB."""
        while True:
            self.yielded += 1
            yield Token("x" * 1000)

    async def warm(self, request: ChatRequest) -> None:
        """Nothing to do."""

    async def aclose(self) -> None:
        """Nothing to do."""


async def test_a_slow_reader_stops_the_backend(start: Start) -> None:
    """What is on its way is bounded by the socket's buffers, whatever the backend could make."""
    backend = Flood()
    service = await start(backend)
    reader, writer = await asyncio.open_connection(httpx.URL(service.url).host, httpx.URL(service.url).port)
    body = b'{"messages":[{"role":"user","content":"go"}]}'
    head = f"POST /v1/chat HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    writer.transport.pause_reading()
    writer.write(head.encode() + b"\r\n\r\n" + body)
    await eventually(lambda: backend.yielded > 0)

    held_at = -1
    while held_at != backend.yielded:
        held_at = backend.yielded
        await asyncio.sleep(0.3)

    assert held_at < 20_000  # 20 MB: far more than the buffers of both ends
    writer.transport.resume_reading()
    while backend.yielded == held_at:
        assert await reader.read(65_536)
    writer.close()
    await writer.wait_closed()
    await eventually(lambda: len(service.streams) == 0)
