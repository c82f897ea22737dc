"""The client against a server that says exactly what the test tells it, on a real socket."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from backends.errors import BackendError, Code
from backends.serve.app import create_app
from backends.serve.server import listening
from backends.sse import stream as stream_module
from backends.sse.address import Address, parse_address
from backends.sse.client import Client
from backends.sse.failures import from_transport, seconds_of
from backends.sse.timeouts import Timeouts
from tests.fakes.echo import Echo
from tests.fakes.http_server import CLOSE, CUT, Script, Server, Step, event_stream, http_server, response
from tests.fakes.scripted import Hold
from tests.fakes.tls import authority

PATIENCE = 20.0
NOW = datetime(1994, 11, 6, 8, 48, 7, tzinfo=UTC)
TOKEN = "sk-very-secret"


@asynccontextmanager
async def talking(*script: Step, timeouts: Timeouts | None = None) -> AsyncIterator[tuple[Client, Server]]:
    """A client, and a server that answers every request with `script`."""
    async with http_server(lambda _: script) as server:
        client = Client(parse_address(server.url), token=TOKEN, timeouts=timeouts)
        try:
            yield client, server
        finally:
            await client.aclose()


async def read(client: Client, *, key: str = "") -> list[tuple[str, str]]:
    """All events of one stream."""
    async with asyncio.timeout(PATIENCE):
        async with client.open("/v1/chat", b"{}", since=time.perf_counter(), key=key) as stream:
            return [(frame.event, frame.data) async for frame in stream.frames()]


async def failure(client: Client, *, key: str = "") -> BackendError:
    """The error that reading one stream ends with."""
    with pytest.raises(BackendError) as caught:
        await read(client, key=key)
    assert TOKEN not in caught.value.message
    assert "\n" not in caught.value.message
    return caught.value


async def eventually(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not true():  # noqa: ASYNC110 - looks at what has no event
            await asyncio.sleep(0.005)


class TestReading:
    @pytest.mark.parametrize(
        "body",
        [
            b"event: a\ndata: \xc3\xa4\xf0\x9f\x98\x80\n\nevent: b\ndata: 2\n\n",
            b"event: a\r\ndata: \xc3\xa4\xf0\x9f\x98\x80\r\n\r\nevent: b\r\ndata: 2\r\n\r\n",
            b"\xef\xbb\xbfevent: a\ndata: \xc3\xa4\xf0\x9f\x98\x80\n\n: comment\n\nevent:b\ndata:2\n\n",
            b"event: a\rdata: \xc3\xa4\xf0\x9f\x98\x80\r\revent: b\rdata: 2\r\r",
        ],
        ids=["lf", "crlf", "bom and comment", "cr"],
    )
    @pytest.mark.parametrize("size", [1, 3, 1000])
    async def test_any_line_ending_in_any_pieces(self, body: bytes, size: int) -> None:
        pieces = [body[at : at + size] for at in range(0, len(body), size)]

        async with talking(*event_stream(*pieces)) as (client, _):
            assert await read(client) == [("a", "ä😀"), ("b", "2")]

    async def test_an_event_that_is_cut_off_is_not_given_out(self) -> None:
        async with talking(*event_stream(b"data: 1\n\n", b"data: 2\n")) as (client, _):
            assert await read(client) == [("message", "1")]

    async def test_a_large_event_arrives_whole(self) -> None:
        large = "x" * 3_000_000

        async with talking(*event_stream(f"data: {large}\n\n".encode())) as (client, _):
            assert await read(client) == [("message", large)]

    async def test_an_event_without_end_is_not_kept(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(stream_module, "MAX_EVENT", 100_000)

        async with talking(*event_stream(b"data: ", *[b"x" * 10_000] * 20, Hold())) as (client, server):
            assert (await failure(client)).code == Code.BAD_RESPONSE
            await eventually(lambda: server.answering == 0)


class TestConnections:
    async def test_a_connection_is_used_again(self) -> None:
        async with talking(*event_stream(b"data: 1\n\n")) as (client, server):
            assert not client.connected
            await read(client)
            assert client.connected
            await read(client)
            assert (server.connections, len(server.requests)) == (1, 2)

    async def test_a_complete_answer_keeps_the_connection_though_its_end_was_not_read(self) -> None:
        async with talking(*event_stream(b"data: 1\n\n", 0.01)) as (client, server):
            for _ in range(2):
                async with client.open("/", b"{}", since=time.perf_counter()) as stream:
                    async for _frame in stream.frames():
                        stream.complete()
                        break
            assert server.connections == 1

    async def test_leaving_early_is_seen_by_the_server(self) -> None:
        async with talking(*event_stream(b"data: 1\n\n", Hold())) as (client, server):
            async with client.open("/", b"{}", since=time.perf_counter()) as stream:
                async for _frame in stream.frames():
                    break
            await eventually(lambda: server.answering == 0)
            assert server.disconnects == 1
            assert not client.connected

    @pytest.mark.parametrize("script", [[Hold()], event_stream(Hold())], ids=["before headers", "in the body"])
    async def test_cancelling_leaves_no_connection_behind(self, script: Script) -> None:
        async with talking(*script) as (client, server):
            task = asyncio.create_task(read(client))
            await eventually(lambda: server.answering == 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await eventually(lambda: server.answering == 0)
            assert not client.connected

    async def test_a_connection_that_just_closed_costs_a_keyed_request_nothing(self) -> None:
        scripts = [event_stream(b"data: 1\n\n"), [CLOSE], event_stream(b"data: 2\n\n")]
        async with http_server(lambda _: scripts.pop(0)) as server:
            client = Client(parse_address(server.url))
            await read(client)
            assert await read(client, key="k") == [("message", "2")]
            assert [request.headers.get("idempotency-key") for request in server.requests] == [None, "k", "k"]
            await client.aclose()

    async def test_without_a_key_nothing_is_sent_twice(self) -> None:
        scripts = [event_stream(b"data: 1\n\n"), [CLOSE]]
        async with http_server(lambda _: scripts.pop(0)) as server:
            client = Client(parse_address(server.url))
            await read(client)
            error = await failure(client)
            assert (error.code, error.retryable) == (Code.INTERRUPTED, True)
            await client.aclose()

    async def test_closing_ends_what_runs(self) -> None:
        async with talking(*event_stream(b"data: 1\n\n", Hold())) as (client, server):
            task = asyncio.create_task(failure(client))
            await eventually(lambda: server.answering == 1)
            await client.aclose()
            assert (await task).code == Code.SHUTDOWN
            assert (await failure(client)).code == Code.SHUTDOWN

    async def test_over_a_unix_socket(self, tmp_path: Path) -> None:
        async with http_server(lambda _: event_stream(b"data: 1\n\n"), uds=tmp_path / "s") as server:
            client = Client(parse_address(server.url))
            assert await read(client) == [("message", "1")]
            await client.aclose()


class TestTiming:
    async def test_the_stages_of_a_request_follow_each_other(self) -> None:
        async with talking(*event_stream(b"data: 1\n\n")) as (client, _):
            for is_new in (True, False):
                async with client.open("/", b"{}", since=time.perf_counter()) as stream:
                    await stream.answered()
                    answered = stream.now()
                    async for _frame in stream.frames():
                        pass
                timing = stream.timing
                assert (timing.connect_start is not None) is is_new
                assert 0 <= timing.send_start <= timing.send_end <= answered
                if timing.connect_start is not None:
                    assert 0 <= timing.connect_start <= timing.connect_end <= timing.send_start
                    assert timing.connect_spans()[0].duration > 0
                assert [span.stage for span in timing.wait_spans()] == ["server_wait", "first_byte"]
                assert timing.connection == ("new, HTTP/1.1" if is_new else "reused, HTTP/1.1")

    async def test_name_tcp_and_tls_are_told_apart(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        tls, trusted = authority(tmp_path)
        monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
        async with http_server(lambda _: event_stream(b"data: 1\n\n"), tls=tls) as server:
            client = Client(parse_address(server.url.replace("127.0.0.1", "localhost")))
            async with client.open("/", b"{}", since=time.perf_counter()) as stream:
                assert [frame.data async for frame in stream.frames()] == ["1"]
            await client.aclose()

        whole, *parts = stream.timing.connect_spans()
        assert [part.stage for part in parts] == ["dns", "tcp", "tls"]
        assert all(part.duration > 0 for part in parts)
        assert sum(part.duration for part in parts) == pytest.approx(whole.duration, rel=0.5)
        assert parts[-1].end == pytest.approx(whole.end)


class TestTimeouts:
    @pytest.mark.parametrize(
        ("timeouts", "code", "script"),
        [
            (Timeouts(idle=0.1), Code.TIMEOUT_IDLE, event_stream(b"data: 1\n\n", Hold())),
            (Timeouts(first_token=0.1), Code.TIMEOUT_FIRST_TOKEN, [Hold()]),
            (Timeouts(first_token=0.3), Code.TIMEOUT_FIRST_TOKEN, event_stream(*[b": ping\n\n", 0.02] * 5000)),
            (Timeouts(total=0.3), Code.TIMEOUT_TOTAL, event_stream(*[b"data: 1\n\n", 0.02] * 5000)),
        ],
        ids=["idle", "no headers", "pings only", "total"],
    )
    async def test_each_limit_has_its_own_error(self, timeouts: Timeouts, code: Code, script: Script) -> None:
        async with talking(*script, timeouts=timeouts) as (client, server):
            error = await failure(client)
            assert (error.code, error.retryable) == (code, True)
            assert f"timeouts.{code.value.removeprefix('TIMEOUT_').lower()}" in error.message
            await eventually(lambda: server.answering == 0)

    async def test_connecting_is_limited(self) -> None:
        with socket.create_server(("127.0.0.1", 0), backlog=0) as deaf:
            waiting = [socket.socket() for _ in range(4)]  # fill the queue: the next one gets no answer
            for each in waiting:
                each.setblocking(False)
                with suppress(BlockingIOError):
                    each.connect(deaf.getsockname())
            client = Client(Address(f"http://127.0.0.1:{deaf.getsockname()[1]}"), timeouts=Timeouts(connect=0.2))
            error = await failure(client)
            assert (error.code, error.retryable) == (Code.TIMEOUT_CONNECT, True)
            for each in waiting:
                each.close()
            await client.aclose()


class TestErrors:
    async def test_nobody_listens(self, tmp_path: Path) -> None:
        for url in ("http://127.0.0.1:1", f"unix:{tmp_path}/none"):
            client = Client(parse_address(url))
            error = await failure(client)
            assert error.code == Code.CONNECT
            assert "is the server running?" in error.message
            await client.aclose()

    def test_a_name_that_does_not_resolve(self) -> None:
        error = httpx.ConnectError("all attempts failed")
        error.__cause__ = socket.gaierror(-2, "Name or service not known")

        mapped = from_transport(error, Address("http://nobody.invalid"), answering=False, seconds=1.0)

        assert mapped.code == Code.CONNECT
        assert "does not resolve" in mapped.message

    @pytest.mark.parametrize(
        ("status", "kind", "body", "says", "retryable"),
        [
            (401, "application/json", b'{"error":{"message":"bad key sk-very-secret"}}', "bad key ***", False),
            (404, "application/json", b'{"detail":"Not Found"}', "Not Found", False),
            (429, "application/json", b'{"error":"slow \\u001b[31mdown"}', "slow down", True),
            (500, "text/html", b"<html><title>Oops</title></html>", "Oops", True),
            (503, "text/plain", b"", "503", True),
            (400, "application/json", b"{" * 100_000, "400", False),
        ],
    )
    async def test_a_status(self, status: int, kind: str, body: bytes, says: str, retryable: bool) -> None:
        async with talking(response(status, kind, body, ["retry-after: 7"])) as (client, _):
            error = await failure(client)
            assert (error.code, error.retryable, error.retry_after) == (f"HTTP_{status}", retryable, 7.0)
            assert says in error.message

    @pytest.mark.parametrize("field", ['"type": "exceed_context_size_error"', '"code": "context_length_exceeded"'])
    async def test_a_prompt_that_does_not_fit(self, field: str) -> None:
        body = b'{"error": {"message": "1000 > 512", %b}}' % field.encode()
        async with talking(response(400, body=body)) as (client, _):
            error = await failure(client)
            assert (error.code, error.retryable) == (Code.CONTEXT_FULL, False)
            assert "1000 > 512" in error.message

    async def test_a_redirect_is_not_followed(self) -> None:
        async with talking(event_stream(b"data: 1\n\n")[0]) as (_, other):
            location = f"location: {other.url}/x?key=sk-very-secret"
            async with talking(response(307, headers=[location])) as (client, _):
                error = await failure(client)
            assert error.code == "HTTP_307"
            assert other.url in error.message
            assert other.requests == []

    async def test_another_content_type(self) -> None:
        async with talking(response(200, "text/html", b"<title>Welcome</title>")) as (client, _):
            error = await failure(client)
            assert error.code == Code.BAD_RESPONSE
            assert "text/html" in error.message
            assert "Welcome" in error.message

    async def test_not_http(self) -> None:
        async with talking(b"SSH-2.0-OpenSSH_9.6\r\n\r\n", CLOSE) as (client, _):
            assert (await failure(client)).code == Code.BAD_RESPONSE

    @pytest.mark.parametrize(
        ("script", "moment"),
        [
            ([CLOSE], "before answering"),
            ([CUT], "before answering"),
            ([*event_stream(b"data: 1\n\n", end=False), CLOSE], "in the middle"),
            ([*event_stream(b"data: 1\n\n", end=False), CUT], "in the middle"),
        ],
        ids=["closed at once", "cut at once", "closed in the body", "cut in the body"],
    )
    async def test_a_lost_connection(self, script: Script, moment: str) -> None:
        async with talking(*script) as (client, _):
            error = await failure(client)
            assert (error.code, error.retryable) == (Code.INTERRUPTED, True)
            assert moment in error.message

    async def test_a_server_without_tls(self) -> None:
        async with listening(create_app(Echo())) as url:
            client = Client(parse_address(url.replace("http:", "https:")))
            error = await failure(client)
            assert error.code == Code.TLS
            assert "http://" in error.message
            await client.aclose()

    async def test_a_certificate_that_nobody_vouches_for(self) -> None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(Path(__file__).with_name("self_signed.pem"))
        async with http_server(lambda _: [CLOSE], tls=tls) as server:
            client = Client(parse_address(server.url))
            error = await failure(client)
            assert error.code == Code.TLS
            assert "certificate" in error.message
            await client.aclose()

    @pytest.mark.parametrize(
        ("value", "seconds"), [("7", 7.0), ("0.5", 0.5), ("-1", None), ("nan", None), ("soon", None)]
    )
    def test_retry_after(self, value: str, seconds: float | None) -> None:
        assert seconds_of({"retry-after": value}, NOW) == seconds

    @pytest.mark.parametrize(
        ("date", "seconds"), [(None, 90.0), ("Sun, 06 Nov 1994 08:49:07 GMT", 30.0), ("no date", 90.0)]
    )
    def test_retry_after_as_a_date_is_held_against_the_servers_clock(self, date: str | None, seconds: float) -> None:
        headers = {"retry-after": "Sun, 06 Nov 1994 08:49:37 GMT"} | ({"date": date} if date else {})
        assert seconds_of(headers, NOW) == seconds

    def test_retry_after_a_date_that_has_passed(self) -> None:
        assert seconds_of({"retry-after": "Sun, 06 Nov 1994 08:40:00 GMT"}, NOW) == 0.0

    async def test_an_empty_purse_is_not_worth_another_try(self) -> None:
        body = b'{"error": {"message": "You exceeded your quota", "type": "insufficient_quota"}}'
        async with talking(response(429, body=body)) as (client, _):
            error = await failure(client)
        assert (error.code, error.retryable) == ("HTTP_429", False)
