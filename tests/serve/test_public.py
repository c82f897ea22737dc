"""What the public gets beside the protocols: metrics, a description, readiness, a log, CORS, TLS, another try."""

from __future__ import annotations

import asyncio
import io
import json
import ssl
from pathlib import Path
from typing import ClassVar

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families as parse

from backends.backend import ChatRequest, Message
from backends.errors import BackendError, Code
from backends.events import Citation, Done, Error, Event, Meta, Status, Token
from backends.serve.access_log import AccessLog
from backends.serve.app import Public, create_app
from backends.serve.certificate import Certificate
from backends.serve.guard import Access
from backends.serve.models import Models
from backends.serve.openapi import description
from backends.serve.retry import Retrying
from backends.serve.server import listening
from backends.telemetry.stages import Span
from tests.fakes.scripted import Hold, Scripted, answer
from tests.serve.conftest import CHAT, PATIENCE, Service, Start, eventually
from tests.serve.test_chat import read

PEM = Path(__file__).parents[1] / "sse" / "self_signed.pem"
TOLD = Meta("m", 1.0, prompt_tokens=10, cached_tokens=4, kv_used=30, kv_cells=100, spans=(Span("prefill", 0.0, 20.0),))


async def metrics(service: Service) -> dict[tuple[str, ...], float]:
    """All samples by their name and the values of their labels."""
    response = await service.http.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain")
    families = parse(response.text)
    return {(each.name, *each.labels.values()): each.value for family in families for each in family.samples}


class TestMetrics:
    async def test_what_a_request_leaves(self, start: Start) -> None:
        script = (
            TOLD,
            Token("a"),
            (hold := Hold()),
            Token("b"),
            Meta(completion_tokens=2, draft_tokens=3, accepted_tokens=1),
            Done(2, 9.0),
        )
        service = await start(Scripted(*script), public=Public())
        reading = asyncio.create_task(read(service))
        await hold.reached.wait()
        await asyncio.sleep(0.005)  # tokens that come together tell no time between them
        hold.release()
        await reading
        found = await metrics(service)

        assert found["llmchat_requests_total", "chat", "complete"] == 1
        assert found["llmchat_requests_within_budget_total", "chat"] == 1
        assert found["llmchat_time_to_first_token_seconds_count", "chat"] == 1
        assert found["llmchat_request_duration_seconds_count", "chat"] == 1
        assert found["llmchat_time_per_output_token_seconds_count", "chat"] == 1
        assert found["llmchat_inter_token_latency_seconds_count",] == 1
        assert found["llmchat_stage_duration_seconds_sum", "prefill"] == pytest.approx(0.02)
        tokens = {name: found[f"llmchat_{name}_tokens_total",] for name in ("prompt", "cached", "completion", "draft")}
        assert tokens == {"prompt": 10, "cached": 4, "completion": 2, "draft": 3}
        assert found["llmchat_accepted_tokens_total",] == 1
        assert (found["llmchat_kv_cells_used",], found["llmchat_kv_cells",]) == (30, 100)

    async def test_what_is_so_now(self, start: Start) -> None:
        hold = Hold()
        service = await start(
            Scripted(Status("queued", position=1), hold, *answer("a")), public=Public(), max_running=1
        )
        asking = [asyncio.create_task(read(service)) for _ in range(2)]
        await asyncio.wait_for(hold.reached.wait(), PATIENCE)
        assert (await metrics(service))["llmchat_streams", "queued"] == 2
        hold.release()
        await asyncio.gather(*asking)
        found = await metrics(service)
        assert [found["llmchat_streams", state] for state in ("running", "queued", "parked")] == [0, 0, 0]

    async def test_errors_refusals_and_who_went_away(self, start: Start) -> None:
        hold = Hold()
        failing = await start(Scripted(Error("HTTP_500", "no")), public=Public())
        strange = await start(Scripted(Error("anything they like", "no")), public=Public())
        waiting = await start(Scripted(hold), public=Public(), resume_grace=0.0)
        await read(failing)
        await failing.http.post("/v1/chat", content=b"{")
        await failing.http.get("/v1/models", headers={"host": "evil.example"})
        await read(strange)
        async with waiting.http.stream("POST", "/v1/chat", json=CHAT):
            await asyncio.wait_for(hold.reached.wait(), PATIENCE)
        await eventually(lambda: not waiting.streams)

        found = await metrics(failing)
        assert found["llmchat_errors_total", "HTTP_500"] == 1
        assert found["llmchat_requests_total", "chat", "failed"] == 1
        assert (found["llmchat_refusals_total", "415"], found["llmchat_refusals_total", "403"]) == (1, 1)
        assert (await metrics(strange))["llmchat_errors_total", "other"] == 1
        left = await metrics(waiting)
        assert left["llmchat_requests_total", "chat", "cancelled"] == 1
        assert not [name for name in left if name[0] == "llmchat_errors_total"]


class TestDescription:
    async def test_every_route_is_in_it_and_nothing_else(self, start: Start) -> None:
        document = (await (await start(Scripted(), public=Public())).http.get("/openapi.json")).json()
        routes = create_app(Scripted(), public=Public()).routes
        served = {(route.path.replace(":path", ""), method) for route in routes for method in route.methods}  # type: ignore[attr-defined]
        told = {(path, verb.upper()) for path, verbs in document["paths"].items() for verb in verbs}
        assert told == {each for each in served if each[1] != "HEAD" and each[0] != "/openapi.json"}

    def test_every_reference_leads_somewhere(self) -> None:
        document = description("1")
        text = json.dumps(document)
        names = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
        assert names <= set(document["components"]["schemas"])
        assert {"ChatRequest", "Token", "CompletionRequest", "Chunk", "ErrorBody"} <= set(
            document["components"]["schemas"]
        )


class TestReadiness:
    async def test_the_backend_is_asked(self, start: Start) -> None:
        backend = Scripted()
        service = await start(backend)
        assert (await service.http.get("/readyz")).json() == {"status": "ready"}
        backend.unreached = Error(Code.CONNECT, "nobody listens there")
        response = await service.http.get("/readyz")
        assert (response.status_code, response.json()) == (503, {"status": "nobody listens there"})


class TestLog:
    async def test_a_line_a_request_without_what_was_said(self, start: Start) -> None:
        file = io.BytesIO()
        script = (TOLD, Citation("secret.md", "S1"), Token("secret answer"), Done(1, 1.0))
        service = await start(
            Scripted(*script), public=Public(observers=(AccessLog(file),)), access=Access("secret token")
        )
        headers = {"authorization": "Bearer secret token"}
        asked = {"messages": [{"role": "user", "content": "secret question"}]}
        response = await service.http.post("/v1/chat", json=asked, headers=headers)
        await service.http.post("/v1/chat", json={"secret field": 1}, headers=headers)
        await eventually(lambda: file.getvalue().count(b"\n") == 2)

        assert b"secret" not in file.getvalue()
        first, second = map(json.loads, file.getvalue().splitlines())
        assert first["request"] == response.headers["x-llmchat-id"]
        assert (first["outcome"], first["tokens"], first["prompt_tokens"], first["model"]) == ("complete", 1, 10, "m")
        assert first["stages"]["prefill"] == 20.0
        assert (second["status"], second["code"]) == (400, "BAD_REQUEST")


class TestCors:
    PREFLIGHT: ClassVar = {
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type,authorization,x-stainless-os",  # OpenAI's client sends it
    }

    async def test_closed_by_default(self, start: Start) -> None:
        service = await start(Scripted(*answer("a")))
        response = await service.http.options("/v1/chat", headers=self.PREFLIGHT | {"origin": "https://app.example"})
        assert response.status_code == 403
        assert "access-control-allow-origin" not in response.headers

    async def test_open_to_who_is_named(self, start: Start) -> None:
        access = Access("token", origins=frozenset({"https://app.example"}))
        service = await start(Scripted(*answer("a")), access=access)
        ours = {"origin": "https://app.example"}
        preflight = await service.http.options("/v1/chat", headers=self.PREFLIGHT | ours)
        assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (200, "https://app.example")
        headers = ours | {"authorization": "Bearer token"}
        answered = await service.http.post("/v1/chat", json=CHAT, headers=headers)
        assert answered.headers["access-control-allow-origin"] == "https://app.example"
        assert "X-LLMChat-Id" in answered.headers["access-control-expose-headers"]
        theirs = headers | {"origin": "https://evil.example"}
        assert (await service.http.post("/v1/chat", json=CHAT, headers=theirs)).status_code == 403


class TestTls:
    async def test_https(self) -> None:
        async with listening(create_app(Scripted(*answer("a"))), tls=Certificate((str(PEM), ""))) as url:
            assert url.startswith("https://127.0.0.1:")
            context = ssl.create_default_context(cafile=str(PEM))
            context.check_hostname = False
            async with httpx.AsyncClient(verify=context, trust_env=False) as http:
                assert "event: done" in (await http.post(f"{url}/v1/chat", json=CHAT)).text

    def test_a_wrong_file(self, tmp_path: Path) -> None:
        with pytest.raises(BackendError, match="cannot be used"):
            Certificate((str(tmp_path / "missing.pem"), ""))


class Unsteady(Scripted):
    """Fails so many times before it plays its script."""

    def __init__(self, failures: list[tuple[Event, ...]], *script: Event) -> None:
        super().__init__(*script)
        self._failures = failures

    def stream(self, request: ChatRequest):  # type: ignore[no-untyped-def]
        """Play a failure, if there is one left."""
        if self._failures:
            self.requests.append(request)
            return Scripted(*self._failures.pop(0)).stream(request)
        return super().stream(request)


class TestAnotherTry:
    LOST = Error(Code.INTERRUPTED, "gone", retryable=True)

    async def events(self, backend: Scripted, retries: int = 2) -> list[Event]:
        return [event async for event in Retrying(backend, retries).stream(ChatRequest((Message("user", "a"),)))]

    async def test_what_is_lost_before_its_first_token_is_asked_for_again(self) -> None:
        backend = Unsteady([(Status("prefilling"), self.LOST), (self.LOST,)], *answer("a"))
        once_more = Status("connecting", detail="once more")
        assert await self.events(backend) == [Status("prefilling"), once_more, once_more, *answer("a")]
        assert len(backend.requests) == 3

    async def test_not_for_ever(self) -> None:
        backend = Unsteady([(self.LOST,)] * 3, *answer("a"))
        assert (await self.events(backend))[-1] == self.LOST
        assert len(backend.requests) == 3

    @pytest.mark.parametrize(
        "script", [(Token("a"), LOST), (Error(Code.BAD_REQUEST, "no"),), (Error(Code.CONNECT, "nobody there", True),)]
    )
    async def test_nothing_else_is(self, script: tuple[Event, ...]) -> None:
        backend = Unsteady([script], *answer("a"))
        assert await self.events(backend) == list(script)


async def test_the_models_of_a_server_that_is_away() -> None:
    async def listed() -> tuple[str, ...]:
        raise BackendError(Code.CONNECT, "nobody listens there")

    assert await Models("box", listed).all() == ("box",)
