"""POST /v1/chat/completions and GET /v1/models: OpenAI's form around the same streams."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from backends.backend import ChatRequest, Message, Sampling
from backends.engine import Engine, EngineOptions
from backends.errors import Code
from backends.events import Citation, Done, Error, Logprob, Meta, Reasoning, Status, Token
from backends.serve.app import Public
from backends.serve.models import Models
from backends.telemetry.stages import Span
from tests.engine.conftest import EXACT
from tests.fakes.gguf_model import write_model
from tests.fakes.scripted import Hold, Scripted, answer
from tests.serve.conftest import PATIENCE, Service, Start, eventually

PATH = "/v1/chat/completions"
ASKED: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}]}
TOLD = Meta(
    "inner-model",
    5.0,
    prompt_tokens=12,
    cached_tokens=8,
    draft_tokens=4,
    accepted_tokens=3,
    spans=(Span("provider_queue", 0.0, 2.0), Span("prefill", 2.0, 4.0)),
)
LAST = Meta(completion_tokens=2, spans=(Span("total_generation", 6.0, 10.0),))
SOURCE = Citation("faq.md", "S1", snippet="Yes.")


@pytest.fixture
def public() -> Public:
    """A backend of one model."""
    return Public(Models("tiny"))


SCRIPT = (Status("prefilling"), TOLD, Reasoning("Hm."), SOURCE, Token("Yes "), Token("[S1]"), LAST, Done(2, 9.0))
"""An answer with a thought, a source and its numbers."""


def chunks(response: httpx.Response) -> list[dict[str, Any]]:
    """The chunks of a stream, without its last word."""
    *data, last = [line[6:] for line in response.text.splitlines() if line.startswith("data: ")]
    assert last == "[DONE]"
    return [json.loads(each) for each in data]


async def post(service: Service, **more: Any) -> httpx.Response:
    """The answer to a request."""
    return await service.http.post(PATH, json=ASKED | more)


class TestWhole:
    async def test_a_completion(self, start: Start, public: Public) -> None:
        service = await start(Scripted(*SCRIPT), public=public)

        response = await post(service)

        assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
        whole = response.json()
        assert whole["object"] == "chat.completion"
        assert whole["id"] == f"chatcmpl-{response.headers['x-llmchat-id']}"
        assert whole["model"] == "inner-model"
        (choice,) = whole["choices"]
        assert choice["message"] == {
            "role": "assistant",
            "content": "Yes [S1]",
            "reasoning_content": "Hm.",
            "citations": [{"source": "faq.md", "id": "S1", "snippet": "Yes."}],
        }
        assert (choice["index"], choice["finish_reason"], choice["logprobs"]) == (0, "stop", None)
        assert whole["usage"] == {
            "prompt_tokens": 12,
            "completion_tokens": 2,
            "total_tokens": 14,
            "prompt_tokens_details": {"cached_tokens": 8},
            "completion_tokens_details": {
                "reasoning_tokens": 0,
                "accepted_prediction_tokens": 3,
                "rejected_prediction_tokens": 1,
            },
        }

    async def test_its_times(self, start: Start, public: Public) -> None:
        service = await start(Scripted(TOLD, Token("a"), Token("b"), LAST, Done(2, 9.0)), public=public)

        response = await post(service)

        assert response.json()["timings"] == {
            "cache_n": 8,
            "prompt_n": 4,
            "prompt_ms": 4.0,
            "prompt_per_token_ms": 1.0,
            "prompt_per_second": 1000.0,
            "predicted_n": 2,
            "predicted_ms": 10.0,
            "predicted_per_token_ms": 5.0,
            "predicted_per_second": 200.0,
            "draft_n": 4,
            "draft_n_accepted": 3,
        }
        assert response.json()["stages"] == {"provider_queue": 2.0, "prefill": 4.0, "total_generation": 10.0}
        assert response.headers["server-timing"] == "provider_queue;dur=2.0, prefill;dur=4.0, total_generation;dur=10.0"

    async def test_a_reader_that_goes_away_ends_it(self, start: Start, public: Public) -> None:
        hold = Hold()
        backend = Scripted(Token("a"), hold)
        service = await start(backend, public=public)
        asking = asyncio.create_task(post(service))
        await asyncio.wait_for(hold.reached.wait(), PATIENCE)

        asking.cancel()

        await eventually(lambda: (backend.streaming, backend.cut, len(service.streams)) == (0, 1, 0))


class TestChunks:
    async def test_a_stream(self, start: Start, public: Public) -> None:
        service = await start(Scripted(*SCRIPT), public=public)

        response = await post(service, stream=True)

        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["x-accel-buffering"] == "no"
        assert response.headers["server-timing"].startswith("provider_queue;dur=2.0, prefill;dur=4.0")
        found = chunks(response)
        assert {(each["object"], each["id"], each["model"]) for each in found} == {
            ("chat.completion.chunk", f"chatcmpl-{response.headers['x-llmchat-id']}", "inner-model")
        }
        assert [each["choices"][0]["delta"] for each in found] == [
            {"role": "assistant", "content": ""},
            {"reasoning_content": "Hm."},
            {"citations": [{"source": "faq.md", "id": "S1", "snippet": "Yes."}]},
            {"content": "Yes "},
            {"content": "[S1]"},
            {},
        ]
        assert [each["choices"][0]["finish_reason"] for each in found] == [None] * 5 + ["stop"]
        assert not any("usage" in each for each in found)
        assert found[-1]["timings"]["predicted_n"] == 2

    async def test_usage_where_it_is_asked_for(self, start: Start, public: Public) -> None:
        service = await start(Scripted(TOLD, Token("a"), LAST, Done(2, 9.0, "length")), public=public)

        *others, last = chunks(await post(service, stream=True, stream_options={"include_usage": True}))

        assert [each["usage"] for each in others] == [None] * len(others)
        assert others[-1]["choices"][0]["finish_reason"] == "length"
        assert last["choices"] == []
        assert last["usage"]["prompt_tokens_details"] == {"cached_tokens": 8}
        assert last["timings"]["cache_n"] == 8

    async def test_an_answer_without_text(self, start: Start, public: Public) -> None:
        service = await start(Scripted(Done(0, 1.0)), public=public)

        first, last = chunks(await post(service, stream=True))

        assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
        assert last["choices"][0]["finish_reason"] == "stop"

    async def test_a_disconnect_ends_it(self, start: Start, public: Public) -> None:
        hold = Hold()
        backend = Scripted(Token("a"), hold)
        service = await start(backend, public=public)

        async with service.http.stream("POST", PATH, json=ASKED | {"stream": True}):
            await asyncio.wait_for(hold.reached.wait(), PATIENCE)

        await eventually(lambda: (backend.streaming, backend.cut, len(service.streams)) == (0, 1, 0))

    async def test_it_can_be_cancelled_but_not_resumed(self, start: Start, public: Public) -> None:
        hold = Hold()
        service = await start(Scripted(Token("a"), hold), public=public)

        async with service.http.stream("POST", PATH, json=ASKED | {"stream": True}) as response:
            await asyncio.wait_for(hold.reached.wait(), PATIENCE)
            stream = f"/v1/chat/{response.headers['x-llmchat-id']}"
            assert (await service.http.get(f"{stream}/events")).status_code == 404
            assert (await service.http.delete(stream)).status_code == 204
            text = (await response.aread()).decode()

        assert text.endswith("data: [DONE]\n\n")

    async def test_silence_is_filled_with_comments(self, start: Start, public: Public) -> None:
        hold = Hold()
        service = await start(Scripted(hold, *answer("a")), public=public, ping_interval=0.05)

        async with service.http.stream("POST", PATH, json=ASKED | {"stream": True}) as response:
            text = ""
            async for piece in response.aiter_text():
                text += piece
                if text.count(": ping\n\n") == 2:
                    hold.release()

        assert text.endswith("data: [DONE]\n\n")

    async def test_log_probabilities(self, start: Start, public: Public) -> None:
        told = Logprob("é", -0.5, 7, (Logprob("é", -0.5, 7), Logprob("e", -1.5, 8)))
        service = await start(Scripted(Token("é", logprobs=(told,)), Done(1, 1.0)), public=public)
        entry = {
            "token": "é",
            "logprob": -0.5,
            "bytes": [195, 169],
            "top_logprobs": [
                {"token": "é", "logprob": -0.5, "bytes": [195, 169]},
                {"token": "e", "logprob": -1.5, "bytes": [101]},
            ],
        }

        streamed = chunks(await post(service, stream=True, logprobs=True, top_logprobs=2))
        whole = (await post(service, logprobs=True, top_logprobs=2)).json()

        assert streamed[1]["choices"][0]["logprobs"] == {"content": [entry], "refusal": None}
        assert whole["choices"][0]["logprobs"] == {"content": [entry], "refusal": None}


class TestFailures:
    @pytest.mark.parametrize("stream", [True, False])
    @pytest.mark.parametrize(
        ("error", "status", "kind"),
        [
            (Error(Code.BAD_REQUEST, "no"), 400, "invalid_request_error"),
            (Error(Code.CONTEXT_FULL, "too long"), 400, "exceed_context_size_error"),
            (Error(Code.OVERLOADED, "busy", True, 2.5), 503, "server_error"),
            (Error("HTTP_429", "slower"), 429, "rate_limit_error"),
            (Error("HTTP_401", "our key is wrong"), 502, "server_error"),
            (Error(Code.TIMEOUT_FIRST_TOKEN, "slow"), 504, "server_error"),
            (Error("SOMETHING_NEW", "what"), 502, "server_error"),
        ],
        ids=lambda value: value.code if isinstance(value, Error) else "",
    )
    async def test_before_the_answer_it_is_the_http_status(
        self, start: Start, public: Public, error: Error, status: int, kind: str, stream: bool
    ) -> None:
        service = await start(Scripted(Status("queued", position=1), error), public=public)

        response = await post(service, stream=stream)

        assert response.status_code == status
        body = response.json()["error"]
        assert (body["code"], body["message"], body["type"]) == (error.code, error.message, kind)
        assert response.headers.get("retry-after") == ("3" if error.retry_after else None)

    async def test_in_the_middle_it_is_a_chunk(self, start: Start, public: Public) -> None:
        service = await start(Scripted(Token("a"), Error(Code.ENGINE_DIED, "gone")), public=public)

        text = (await post(service, stream=True)).text

        assert json.loads(text.splitlines()[-2].removeprefix("data: "))["error"]["code"] == "ENGINE_DIED"
        assert "[DONE]" not in text

    async def test_in_the_middle_of_a_whole_one_it_is_the_status(self, start: Start, public: Public) -> None:
        service = await start(Scripted(Token("a"), Error(Code.ENGINE_DIED, "gone")), public=public)

        assert (await post(service)).status_code == 502

    async def test_after_a_silence_it_is_a_chunk_too(self, start: Start, public: Public) -> None:
        hold = Hold()
        service = await start(Scripted(hold, Error(Code.OVERLOADED, "busy")), public=public, ping_interval=0.05)

        async with service.http.stream("POST", PATH, json=ASKED | {"stream": True}) as response:
            assert response.status_code == 200
            hold.release()
            text = (await response.aread()).decode()

        assert '"code":"OVERLOADED"' in text


class TestRequests:
    async def test_everything_reaches_the_backend(self, start: Start, public: Public) -> None:
        backend = Scripted(*answer("a"))
        service = await start(backend, public=public)
        schema = {"type": "object", "properties": {"a": {"type": "integer"}}}

        response = await post(
            service,
            messages=[
                {"role": "developer", "content": "Be brief."},
                {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]},
                {"role": "assistant", "content": "It"},
            ],
            max_tokens=9,
            max_completion_tokens=7,
            temperature=0.5,
            top_p=0.9,
            seed=3,
            stop="END",
            presence_penalty=0.1,
            frequency_penalty=0.2,
            logit_bias={"50": -100},
            logprobs=True,
            response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},
            reasoning_effort="none",
            docs=False,
            feature="batch",
            user="somebody",
            tools=[{"type": "function"}],
            tool_choice="none",
        )

        assert response.status_code == 200, response.text
        assert backend.requests == [
            ChatRequest(
                (Message("system", "Be brief."), Message("user", "one\ntwo")),
                max_tokens=7,
                sampling=Sampling(
                    temperature=0.5,
                    top_p=0.9,
                    seed=3,
                    stop=("END",),
                    presence_penalty=0.1,
                    frequency_penalty=0.2,
                    logit_bias=((50, -100.0),),
                    json_schema=schema,
                    top_logprobs=0,
                ),
                feature="batch",
                docs=False,
                continue_from="It",
                reasoning="off",
                key=backend.requests[0].key,
            )
        ]

    @pytest.mark.parametrize(
        ("more", "status", "param", "says"),
        [
            ({"n": 2}, 400, "n", "one answer a request"),
            ({"tools": [{"type": "function"}]}, 400, "tools", "calls no tools"),
            ({"tool_choice": "required"}, 400, "tool_choice", "calls no tools"),
            ({"functions": [{}]}, 400, "functions", "calls no tools"),
            ({"modalities": ["text", "audio"]}, 400, "modalities", "text only"),
            ({"top_logprobs": 3}, 400, "top_logprobs", "logprobs: true"),
            ({"temperature": 3}, 400, "temperature", "<= 2"),
            ({"max_tokens": 0}, 400, "max_tokens", ">= 1"),
            ({"messages": []}, 400, "messages", "length >= 1"),
            ({"messages": [{"role": "tool", "content": "x"}]}, 400, "messages[0]", "calls no tools"),
            ({"messages": [{"role": "user"}]}, 400, "messages[0].content", "missing"),
            ({"messages": [{"role": "assistant", "content": "I"}]}, 400, "messages", "nothing but"),
            (
                {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
                400,
                "messages[0].content[0]",
                "only text",
            ),
            ({"logit_bias": {"dog": 1}}, 400, "logit_bias", "not the number of a token"),
            ({"response_format": {"type": "json_schema"}}, 400, "response_format", "schema is missing"),
            ({"model": "huge"}, 404, "model", "no model 'huge'"),
        ],
    )
    async def test_what_cannot_be_had_is_refused_by_name(
        self, start: Start, public: Public, more: dict[str, Any], status: int, param: str, says: str
    ) -> None:
        backend = Scripted(*answer("a"))
        service = await start(backend, public=public)

        response = await post(service, **more)

        assert response.status_code == status
        error = response.json()["error"]
        assert error["param"] == param
        assert says in error["message"]
        assert backend.requests == []

    async def test_the_model_of_a_server_behind_is_passed_on(self, start: Start) -> None:
        async def listed() -> tuple[str, ...]:
            return ("big", "small")

        backend = Scripted(*answer("a"))
        service = await start(backend, public=Public(Models("box", listed)))

        assert [model["id"] for model in (await service.http.get("/v1/models")).json()["data"]] == [
            "box",
            "big",
            "small",
        ]
        assert (await service.http.get("/v1/models/big")).json()["object"] == "model"
        assert (await service.http.get("/v1/models/tiny")).status_code == 404
        for name in ("box", "big"):
            await post(service, model=name)
        assert [request.model for request in backend.requests] == [None, "big"]


async def test_a_real_engine(start: Start, public: Public, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Greedy, whole and streamed, cached the second time, cut at a token limit, with a schema."""
    model = write_model(tmp_path_factory.mktemp("models") / "openai.gguf", context=1024)
    engine = Engine(EngineOptions(**({"model": str(model)} | EXACT)))
    await engine.ready()
    service = await start(engine, public=public)
    asked = {
        "messages": [{"role": "user", "content": "pause the annual plan " * 20}],
        "max_tokens": 12,
        "temperature": 0,
        "logprobs": True,
        "top_logprobs": 2,
    }

    whole = (await post(service, **asked)).json()
    found = chunks(await post(service, **asked, stream=True, stream_options={"include_usage": True}))

    text = "".join(each["choices"][0]["delta"].get("content", "") for each in found[:-1])
    assert text == whole["choices"][0]["message"]["content"] != ""
    assert found[-2]["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"] == "length"
    assert whole["usage"]["completion_tokens"] == found[-1]["usage"]["completion_tokens"] == 12
    assert found[-1]["usage"]["prompt_tokens_details"]["cached_tokens"] > 20
    assert whole["timings"]["prompt_ms"] > 0
    assert len(whole["choices"][0]["logprobs"]["content"]) == 12
    await engine.aclose()
