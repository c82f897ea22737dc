"""`Native` against `serve` and against servers that are not what they should be."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backends.backend import ChatRequest, Message
from backends.config import parse
from backends.errors import BackendError, Code, ConfigError
from backends.events import Citation, Done, Error, Event, Meta, Reasoning, Status, Token
from backends.providers import open_backend
from backends.providers.native import Native
from backends.serve.app import Public, create_app
from backends.serve.guard import Access
from backends.serve.models import Models
from backends.serve.server import listening
from backends.sse.timeouts import Timeouts
from backends.telemetry.stages import Span
from backends.telemetry.summary import account
from backends.telemetry.timeline import Timeline
from tests.fakes.http_server import CLOSE, Step, event_stream, http_server, response
from tests.fakes.scripted import Hold, Scripted, answer

PATIENCE = 20.0
REQUEST = ChatRequest((Message("user", "hi"),))
DONE = b'event: done\nid: 9\ndata: {"totalTokens":1,"latency":1}\n\n'


async def read(stream: AsyncIterator[Event]) -> list[Event]:
    """All events of `stream`."""
    async with asyncio.timeout(PATIENCE):
        return [event async for event in stream]


async def read_from(*script: Step, timeouts: Timeouts | None = None) -> list[Event]:
    """What `Native` makes of a server that answers with `script`."""
    async with http_server(lambda _: script) as server:
        native = Native(server.url, timeouts=timeouts)
        try:
            return await read(native.stream(REQUEST))
        finally:
            await native.aclose()


class TestAgainstServe:
    async def test_every_event_passes_unchanged_but_for_its_times(self, tmp_path: Path) -> None:
        script = (
            Status("retrieving", 1, 3, ms=2.0, passages=(Citation("a.md", "S1"),)),
            Reasoning("hm", 2),
            Token("Hello\n"),
            Citation("a.md", "S1", "Title", "line 3", "text"),
            Token("", 0),
        )
        async with listening(create_app(Scripted(*script, Done(3, 9.0, "length"))), uds=str(tmp_path / "s")) as url:
            native = Native(url)
            got = await read(native.stream(REQUEST))
            await native.aclose()

        assert got[0] == Status("connecting")
        assert tuple(got[2:-1]) == script
        assert isinstance(got[-1], Done)
        assert (got[-1].total_tokens, got[-1].finish_reason) == (3, "length")

    async def test_connecting_is_said_once_per_connection(self) -> None:
        async with listening(create_app(Scripted(*answer("a")))) as url:
            native = Native(url)
            first, second = await read(native.stream(REQUEST)), await read(native.stream(REQUEST))
            await native.aclose()

        assert Status("connecting") in first
        assert Status("connecting") not in second

    async def test_the_account_over_the_first_token_leaves_next_to_nothing(self) -> None:
        """The server says where its time went; connection and network are what else there was."""
        work = 50.0
        script = (Status("prefilling"), Meta(latency=work, spans=(Span("prefill", 0.0, work),)), *answer("a"))
        async with listening(create_app(Late(Scripted(*script), work / 1000))) as url:
            native = Native(url)
            await native.warm(REQUEST)
            loop = asyncio.get_running_loop()
            called, timeline = loop.time(), Timeline()
            async for event in native.stream(REQUEST):
                timeline.add(event, (loop.time() - called) * 1000)
            await native.aclose()

        ttft = timeline.first_token_ms
        assert ttft is not None
        assert ttft >= work
        bill = account(timeline.spans(ttft), ttft)
        assert sum(cost for _, cost in bill.parts) + bill.unattributed == pytest.approx(ttft)
        assert {stage for stage, _ in bill.parts} == {"network_in", "prefill"}
        assert bill.unattributed < 0.5 * ttft  # generous: nothing but this process's own work is left out

    async def test_a_truer_arrival_moves_the_stages_told_before_it_too(self) -> None:
        """The first event was held up on its way, the second was not: the stages keep their order on our clock."""
        late = b'event: meta\ndata: {"latency":10,"spans":[{"stage":"retrieval","offset":0,"duration":10}]}\n\n'
        prompt = b'event: meta\ndata: {"latency":300,"spans":[{"stage":"prefill","offset":10,"duration":290}]}\n\n'
        got = await read_from(*event_stream(0.25, late, prompt, DONE))

        spans = {span.stage: span for event in got if isinstance(event, Meta) for span in event.spans}
        assert spans["prefill"].offset == pytest.approx(spans["retrieval"].end)
        assert spans["network_in"].end == pytest.approx(spans["retrieval"].offset)

    async def test_its_times_are_its_own(self) -> None:
        async with listening(create_app(Scripted(Meta("m", 1e6), Done(0, 1e6)))) as url:
            native = Native(url)
            got = await read(native.stream(REQUEST))
            await native.aclose()

        latencies = [event.latency for event in got if isinstance(event, Meta | Done)]
        assert None not in latencies
        assert latencies == sorted(latencies, key=lambda ms: ms or 0.0)
        assert max(ms or 0.0 for ms in latencies) < 1e5

    async def test_token_and_model_are_sent(self) -> None:
        backend = Scripted(*answer("a"))
        async with listening(create_app(backend, access=Access("secret"))) as url:
            for native, code in ((Native(url, token="secret", model="m"), None), (Native(url), "HTTP_401")):
                last = (await read(native.stream(REQUEST)))[-1]
                assert getattr(last, "code", None) == code
                await native.aclose()

        assert [request.model for request in backend.requests] == ["m"]

    async def test_only_a_local_server_is_told_unsent_text(self) -> None:
        backend = Scripted(*answer("a"))
        async with listening(create_app(backend)) as url:
            for is_local in (False, True):
                native = Native(url, local=is_local)
                await native.warm(REQUEST)
                assert Status("connecting") not in await read(native.stream(REQUEST))
                assert len(backend.warmed) == is_local
                await native.aclose()

    async def test_a_hint_tells_what_a_request_would_meet(self) -> None:
        class Loading(Scripted):
            met: Status | Error | None = Status("loading", done=420, total=1000)

            async def warm(self, request: ChatRequest) -> Status | Error | None:  # type: ignore[override]
                return self.met

        backend = Loading()
        async with listening(create_app(backend)) as url:
            native = Native(url, local=True)
            assert await native.warm(REQUEST) == Status("loading", done=420, total=1000)
            backend.met = Error(Code.MODEL_LOAD, "no such file")
            assert await native.warm(REQUEST) == backend.met
            backend.met = None
            assert await native.warm(REQUEST) is None
            await native.aclose()
        for is_local in (False, True):
            native = Native(url, local=is_local)
            met = await native.warm(REQUEST)
            assert isinstance(met, Error)
            assert met.code == Code.CONNECT
            assert "cannot reach" in met.message
            await native.aclose()

    async def test_an_idempotency_key_goes_with_every_request(self) -> None:
        async with http_server(lambda _: event_stream(DONE)) as server:
            native = Native(server.url)
            await read(native.stream(REQUEST))
            await read(native.stream(ChatRequest(REQUEST.messages, key="mine")))
            await native.aclose()

        made, given = (request.headers["idempotency-key"] for request in server.requests)
        assert len(made) >= 32
        assert given == "mine"

    async def test_after_closing_there_is_only_an_error(self) -> None:
        native = Native("http://127.0.0.1:1")
        await native.aclose()

        (error,) = await read(native.stream(REQUEST))

        assert isinstance(error, Error)
        assert error.code == Code.SHUTDOWN


class Late:
    """A backend that begins after a pause."""

    def __init__(self, inner: Scripted, seconds: float) -> None:
        self._inner, self._seconds = inner, seconds

    async def stream(self, request: ChatRequest) -> AsyncIterator[Event]:
        """Wait, then stream."""
        await asyncio.sleep(self._seconds)
        async for event in self._inner.stream(request):
            yield event

    async def warm(self, request: ChatRequest) -> None:
        """Nothing to warm."""

    async def aclose(self) -> None:
        """Nothing to close."""


class TestAgainstOthers:
    async def test_unknown_events_and_fields_are_passed_over(self) -> None:
        body = b'event: news\ndata: {}\n\ndata: x\n\nevent: token\ndata: {"text":"a","new":[1]}\n\n'

        got = await read_from(*event_stream(body, DONE))

        assert [type(event) for event in got] == [Status, Token, Done]

    async def test_a_stream_that_just_ends_was_interrupted(self) -> None:
        got = await read_from(*event_stream(b'event: token\ndata: {"text":"a"}\n\n'))

        assert got[1] == Token("a")
        assert isinstance(got[-1], Error)
        assert (got[-1].code, got[-1].retryable) == ("INTERRUPTED", True)

    @pytest.mark.parametrize("data", [b"{", b'{"text":5}', b"[]", b"\xff"])
    async def test_a_malformed_event(self, data: bytes) -> None:
        got = await read_from(*event_stream(b"event: token\ndata: " + data + b"\n\n", DONE))

        assert isinstance(got[-1], Error)
        assert got[-1].code == Code.BAD_RESPONSE
        assert "'token'" in got[-1].message

    async def test_nothing_is_read_after_the_end(self) -> None:
        got = await read_from(*event_stream(DONE, b'event: token\ndata: {"text":"late"}\n\n'))

        assert isinstance(got[-1], Done)
        assert len(got) == 2

    async def test_the_first_tokens_limit_ends_with_the_first_token(self) -> None:
        token = b'event: token\ndata: {"text":"a"}\n\n'

        got = await read_from(*event_stream(token, 2.2, DONE), timeouts=Timeouts(first_token=2.0))

        assert isinstance(got[-1], Done)

    async def test_the_same_limit_holds_while_statuses_come(self) -> None:
        status = b'event: status\ndata: {"status":"queued"}\n\n'

        got = await read_from(*event_stream(status, Hold()), timeouts=Timeouts(first_token=0.1))

        assert isinstance(got[-1], Error)
        assert got[-1].code == Code.TIMEOUT_FIRST_TOKEN

    async def test_a_server_of_another_kind(self) -> None:
        got = await read_from(b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\n\r\n<p>Hello</p>", CLOSE)

        assert isinstance(got[-1], Error)
        assert got[-1].code == Code.BAD_RESPONSE


class TestModels:
    async def test_those_of_the_server_behind_are_listed_and_asked_for(self) -> None:
        async def listed() -> tuple[str, ...]:
            return ("small", "large")

        inner = Scripted(*answer("ok"))
        async with listening(create_app(inner, public=Public(Models("box", listed)))) as url:
            backend = Native(url)
            models = await backend.models()
            await read(backend.stream(ChatRequest((Message("user", "hi"),), model=models[1])))
            await backend.aclose()

        assert models == ("small", "large")
        assert [request.model for request in inner.requests] == ["large"]

    @pytest.mark.parametrize(
        ("status", "body", "code"), [(404, b"", ""), (401, b"", "HTTP_401"), (200, b"[]", "BAD_RESPONSE")]
    )
    async def test_where_there_is_no_list(self, status: int, body: bytes, code: str) -> None:
        async with http_server(lambda _: [response(status, body=body)]) as server:
            backend = Native(server.url)
            if not code:
                assert await backend.models() == ()
            else:
                with pytest.raises(BackendError) as caught:
                    await backend.models()
                assert caught.value.code == code
            await backend.aclose()


class TestConfiguration:
    def test_from_the_file(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MY_KEY", "k")
        file = parse(
            """
            backend = "box"
            [backends.box]
            type = "native"
            url = "http://box:8000"
            api_key_env = "MY_KEY"
            timeouts = {first_token = 5.0, idle = 2}
            headers = {x-team = "blue"}
            """
        )

        assert isinstance(open_backend(file), Native)

    @pytest.mark.parametrize(
        ("line", "says"),
        [
            ('url = "box:8000"', "box:8000"),
            ('url = "http://box"\ntimeouts = {idle = 0}', "idle"),
            ('url = "http://box"\napi_key_env = "NOT_SET_ANYWHERE"', "NOT_SET_ANYWHERE"),
            ("", "'url' is missing"),
        ],
    )
    def test_mistakes(self, line: str, says: str) -> None:
        with pytest.raises(ConfigError, match=says):
            open_backend(parse(f'backend = "box"\n[backends.box]\ntype = "native"\n{line}\n'))

    def test_connecting_imports_nothing_heavy(self) -> None:
        code = (
            "import sys\n"
            "from backends.providers.native import Native\n"
            "Native('http://localhost:1')\n"
            "print('httpx' in sys.modules)"
        )

        output = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout

        assert output.strip() == "False"
