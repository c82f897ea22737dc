"""The provider `openai`: chunks to events, requests, and whole conversations with a server of its wire form."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.backend import ChatRequest, Message, Sampling
from backends.errors import BackendError, Code
from backends.events import Citation, Done, Error, Event, Meta, Reasoning, Status, Token, is_terminal
from backends.foreign.turns import GO_ON
from backends.providers.openai import ChunkReader, OpenAI, Options, base_address, request_body
from backends.sse.placement import Timing
from backends.telemetry.stages import Span
from tests.fakes.http_server import CLOSE, CUT, Request, Script, Step, event_stream, http_server, response
from tests.fakes.openai_server import MODEL, chunk, data, error, models, openai_server, usage
from tests.providers.reading import events_of, of

PATIENCE = 20.0
REQUEST = ChatRequest((Message("user", "one two"),), max_tokens=9)


def read(*chunks: bytes, first_at: float = 100.0, timing: Timing | None = None) -> list[Event]:
    """The events of some chunks."""
    pieces = (chunk.decode().removeprefix("data: ").strip() for chunk in chunks)
    return events_of(ChunkReader(timing or Timing(), "server"), pieces, first_at)


KEYS = (
    *("choices", "delta", "content", "finish_reason", "error", "message", "code", "total"),
    *("usage", "completion_tokens", "timings", "prompt_ms", "metrics", "prompt_progress"),
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(KEYS), inner))


class TestChunks:
    def test_a_plain_answer(self) -> None:
        found = read(
            chunk({"role": "assistant", "content": ""}),
            chunk({"content": "Hel"}),
            chunk({"content": "lo"}),
            chunk({}, finish_reason="stop"),
            data("[DONE]"),
        )

        assert of(Token, found) == [Token("Hel"), Token("lo")]
        assert found[-1] == Done(2, 140.0, "stop")
        assert (found[0].model, found[0].request_id) == (MODEL, "chatcmpl-1")  # type: ignore[union-attr]

    def test_the_clients_own_stages_come_first(self) -> None:
        timing = Timing(1.0, 3.0, 3.0, 4.0)

        found = read(chunk({"content": "a"}), timing=timing)

        assert of(Meta, found)[0].spans == (
            Span("connect", 1.0, 2.0, "client"),
            Span("network_in", 3.0, 1.0, "client"),
        )

    @pytest.mark.parametrize(
        ("reason", "finish"),
        [
            ("stop", "stop"),
            ("length", "length"),
            ("content_filter", "content_filter"),
            ("tool_calls", "tool_calls"),
            ("function_call", "tool_calls"),
            ("eos", "stop"),
        ],
    )
    def test_finish_reasons(self, reason: str, finish: str) -> None:
        assert read(chunk({"content": "a"}), chunk({}, finish_reason=reason))[-1] == Done(1, 120.0, finish)  # type: ignore[arg-type]

    @pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
    def test_thinking(self, field: str) -> None:
        found = read(chunk({field: "hm", "content": None}), chunk({"content": "a"}), chunk({}, finish_reason="stop"))

        assert of(Reasoning, found) == [Reasoning("hm")]
        assert of(Token, found) == [Token("a")]

    def test_text_in_parts(self) -> None:
        parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]

        assert of(Token, read(chunk({"content": parts}))) == [Token("ab")]

    def test_usage(self) -> None:
        found = read(
            chunk({"content": "a"}),
            chunk({}, finish_reason="length"),
            usage(
                prompt_tokens=50,
                completion_tokens=7,
                prompt_tokens_details={"cached_tokens": 32},
                completion_tokens_details={"reasoning_tokens": 3},
            ),
            data("[DONE]"),
        )

        meta = of(Meta, found)[-1]
        assert (meta.prompt_tokens, meta.completion_tokens, meta.cached_tokens, meta.reasoning_tokens) == (50, 7, 32, 3)
        assert found[-1] == Done(7, 130.0, "length")

    def test_running_usage_gives_each_piece_its_count(self) -> None:
        found = read(
            chunk({"content": "a"}, usage={"completion_tokens": 2}),
            chunk({"content": "b"}, usage={"completion_tokens": 5}),
            chunk({}, finish_reason="stop", usage={"completion_tokens": 5}),
        )

        assert of(Token, found) == [Token("a", 2), Token("b", 3)]
        assert found[-1].total_tokens == 5  # type: ignore[union-attr]

    def test_llama_servers_progress_and_timings(self) -> None:
        timings = {
            "cache_n": 20,
            "prompt_n": 30,
            "prompt_ms": 60.0,
            "predicted_n": 2,
            "predicted_ms": 15.0,
            "draft_n": 8,
            "draft_n_accepted": 6,
        }
        found = read(
            chunk({}, prompt_progress={"total": 50, "cache": 20, "processed": 40, "time_ms": 30}),
            chunk({}, prompt_progress={"total": 50, "cache": 20, "processed": 50, "time_ms": 60}),
            chunk({"content": "a"}),
            chunk({"content": "b"}),
            chunk({}, finish_reason="stop", timings=timings),
            timing=Timing(send_end=5.0),
        )

        assert of(Status, found) == [
            Status("prefilling", total=50, done=40, cached=20),
            Status("prefilling", total=50, done=50, cached=20, ms=60.0),
        ]
        meta = of(Meta, found)[-1]
        assert (meta.prompt_tokens, meta.cached_tokens, meta.completion_tokens) == (50, 20, 2)
        assert (meta.draft_tokens, meta.accepted_tokens) == (8, 6)
        assert meta.spans == (Span("prefill", 60.0, 60.0), Span("total_generation", 120.0, 15.0))

    def test_timings_that_cannot_fit_are_cut_at_the_sending(self) -> None:
        found = read(
            chunk({"content": "a"}),
            chunk({}, finish_reason="stop", timings={"prompt_ms": 500.0}),
            timing=Timing(send_end=40.0),
        )

        assert of(Meta, found)[-1].spans == (Span("prefill", 40.0, 60.0),)

    def test_vllms_metrics(self) -> None:
        metrics = {"time_to_first_token_ms": 50.0, "queue_time_ms": 20.0, "generation_time_ms": 80.0}

        found = read(chunk({"content": "a"}), chunk({}, finish_reason="stop", metrics=metrics))

        assert of(Meta, found)[-1].spans == (
            Span("provider_queue", 30.0, 20.0),
            Span("prefill", 50.0, 50.0),
            Span("total_generation", 100.0, 80.0),
        )

    def test_vllms_speculation(self) -> None:
        metrics = {"speculative_decoding": {"num_draft_tokens": 9, "num_accepted_draft_tokens": 6}}

        meta = of(Meta, read(chunk({"content": "a"}), chunk({}, finish_reason="stop", metrics=metrics)))[-1]

        assert (meta.draft_tokens, meta.accepted_tokens) == (9, 6)

    def test_times_in_seconds(self) -> None:
        groq = {"usage": {"queue_time": 0.02, "prompt_time": 0.05, "completion_time": 0.08, "completion_tokens": 1}}
        lm_studio = {"stats": {"time_to_first_token": 0.05, "generation_time": 0.08}}

        told = [of(Meta, read(chunk({"content": "a"}), chunk(None, **more)))[-1].spans for more in (groq, lm_studio)]

        rest = (Span("prefill", 50.0, 50.0), Span("total_generation", 100.0, 80.0))
        assert told == [(Span("provider_queue", 30.0, 20.0), *rest), rest]

    def test_what_openrouter_adds(self) -> None:
        usage_told = {"prompt_tokens": 5, "completion_tokens": 1, "cost": 0.00025}
        broken = {"code": 502, "message": "Provider disconnected"}

        whole = read(chunk({"reasoning": "hm"}), chunk({"content": "a"}), usage(**usage_told), data("[DONE]"))
        cut = read(chunk({"content": "a"}), chunk({"content": ""}, finish_reason="error", error=broken))

        assert of(Meta, whole)[-1].cost == 0.00025
        assert isinstance(cut[-1], Error)
        assert (cut[-1].code, cut[-1].retryable) == ("HTTP_502", True)
        assert "Provider disconnected" in cut[-1].message

    def test_a_body_that_ends_after_the_finish_reason_is_complete(self) -> None:
        assert isinstance(read(chunk({"content": "a"}), chunk({}, finish_reason="stop"))[-1], Done)

    def test_a_body_that_ends_before_was_interrupted(self) -> None:
        last = read(chunk({"content": "a"}))[-1]

        assert isinstance(last, Error)
        assert (last.code, last.retryable) == ("INTERRUPTED", True)

    @pytest.mark.parametrize(
        ("body", "code", "says"),
        [
            ({"message": "overloaded", "code": 503}, "HTTP_503", "overloaded"),
            ({"message": "too long", "type": "exceed_context_size_error", "code": 400}, "CONTEXT_FULL", "too long"),
            ({"message": "too long", "code": "context_length_exceeded"}, "CONTEXT_FULL", "too long"),
            ({"message": "\x1b[31mbroken"}, "BAD_RESPONSE", "broken"),
            ("just words", "BAD_RESPONSE", "just words"),
            ({"x": 1}, "BAD_RESPONSE", "without words"),
        ],
    )
    def test_an_error_inside_a_200(self, body: Any, code: str, says: str) -> None:
        found = read(chunk({"content": "a"}), data(json.dumps({"error": body})))

        assert isinstance(found[-1], Error)
        assert found[-1].code == code
        assert says in found[-1].message
        assert "\x1b" not in found[-1].message
        assert sum(map(is_terminal, found)) == 1

    @pytest.mark.parametrize("text", ["{", "[]", "5", "nonsense"])
    def test_what_is_no_chunk(self, text: str) -> None:
        with pytest.raises(BackendError) as caught:
            read(data(text))
        assert caught.value.code == Code.BAD_RESPONSE

    @pytest.mark.parametrize(
        "odd", [{"choices": None}, {"choices": [None]}, {"choices": [{"delta": 5}]}, {"usage": 5}, {}]
    )
    def test_odd_shapes_are_passed_over(self, odd: dict[str, Any]) -> None:
        found = read(data(json.dumps(odd)), chunk({"content": "a"}), chunk({}, finish_reason="stop"))

        assert of(Token, found) == [Token("a")]

    @given(JSON)
    def test_whatever_json_comes_the_end_is_one(self, value: Any) -> None:
        try:
            found = read(data(json.dumps(value)), chunk({"content": "a"}), data("[DONE]"))
        except BackendError:
            return
        assert sum(map(is_terminal, found)) == 1


class TestRequests:
    def test_what_is_sent(self) -> None:
        request = ChatRequest(
            (Message("system", "s"), Message("user", "u")),
            max_tokens=9,
            sampling=Sampling(temperature=0.0, top_p=0.5, seed=0, stop=("x",)),
        )

        body = request_body(request, "m")

        assert msgspec.json.decode(msgspec.json.encode(body)) == {
            "model": "m",
            "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}],
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_tokens": 9,
            "temperature": 0.0,
            "top_p": 0.5,
            "seed": 0,
            "stop": ["x"],
        }

    def test_only_llama_server_is_asked_for_progress(self) -> None:
        assert request_body(REQUEST, "m", "llamacpp")["return_progress"] is True
        assert "return_progress" not in request_body(REQUEST, "m", "openai")

    @pytest.mark.parametrize("owner", ["vllm", "sglang"])
    def test_who_can_is_asked_to_count_as_it_goes(self, owner: str) -> None:
        assert request_body(REQUEST, "m", owner)["stream_options"]["continuous_usage_stats"] is True
        assert request_body(REQUEST, "m")["stream_options"] == {"include_usage": True}

    def test_going_on_after_a_cut(self) -> None:
        request = msgspec.structs.replace(REQUEST, continue_from="one")

        llama, vllm = request_body(request, "m", "llamacpp"), request_body(request, "m", "vllm")

        assert llama["messages"][-1] == vllm["messages"][-1] == {"role": "assistant", "content": "one"}
        assert "continue_final_message" not in llama
        assert (vllm["continue_final_message"], vllm["add_generation_prompt"]) == (True, False)

    def test_a_server_that_may_not_go_on_by_itself_is_asked_to(self) -> None:
        *_, cut, words = request_body(msgspec.structs.replace(REQUEST, continue_from="one"), "m")["messages"]

        assert cut == {"role": "assistant", "content": "one"}
        assert words == {"role": "user", "content": GO_ON}

    async def test_what_the_server_is_is_found_out_before_an_answer_is_gone_on_with(self) -> None:
        async with openai_server("vllm") as server:
            backend = OpenAI(Options(url=server.url, model=MODEL))
            async for _ in backend.stream(msgspec.structs.replace(REQUEST, continue_from="one")):
                pass
            await backend.aclose()
        assert json.loads(server.requests[-1].body)["continue_final_message"] is True

    def test_sources_of_an_earlier_turn_stay_in_it(self) -> None:
        message = Message("user", "Why?", (Citation("a.md", "S1", "Plans", "", "Because."),))

        (sent,) = request_body(ChatRequest((message,)), "m")["messages"]

        assert "[S1] Plans: Because. [/S1]" in sent["content"]

    @pytest.mark.parametrize(
        ("url", "base"),
        [
            ("http://h", "http://h/v1"),
            ("http://h/", "http://h/v1"),
            ("http://h:1/v1/", "http://h:1/v1"),
            ("https://h/api/v1", "https://h/api/v1"),
            ("https://h/v1beta/openai/", "https://h/v1beta/openai"),
            ("https://h/v1/chat/completions", "https://h/v1"),
            ("unix:/run/s", "http://localhost/v1"),
        ],
    )
    def test_the_base(self, url: str, base: str) -> None:
        assert base_address(url).url == base


async def ask(backend: OpenAI, request: ChatRequest = REQUEST) -> list[Event]:
    """All events of one answer."""
    async with asyncio.timeout(PATIENCE):
        return [event async for event in backend.stream(request)]


async def ask_once(*script: Step, **options: Any) -> list[Event]:
    """What comes of a server that answers every request with `script`."""
    async with http_server(lambda _: script) as server:
        backend = OpenAI(Options(url=server.url, model="m", **options), token="sk-secret")
        try:
            return await ask(backend)
        finally:
            await backend.aclose()


class TestConversations:
    async def test_without_a_model_the_first_is_taken(self) -> None:
        async with openai_server() as server:
            backend = OpenAI(Options(url=server.url))
            for _ in range(2):
                assert of(Token, await ask(backend)) == [Token("one"), Token(" two")]
            await backend.aclose()

        assert [request.path for request in server.requests] == ["/v1/models", *["/v1/chat/completions"] * 2]
        assert json.loads(server.requests[1].body)["model"] == MODEL
        assert server.connections == 1

    async def test_a_configured_model_key_headers_and_extra_body_are_sent(self) -> None:
        async with openai_server() as server:
            options = Options(url=f"{server.url}/v1", model="m", headers={"X-Team": "blue"}, extra_body={"top_k": 3})
            backend = OpenAI(options, token="sk-secret")
            await ask(backend)
            await ask(backend, msgspec.structs.replace(REQUEST, model="other"))
            await backend.aclose()

        bodies = [json.loads(request.body) for request in server.requests]
        assert [(body["model"], body["top_k"]) for body in bodies] == [("m", 3), ("other", 3)]
        assert server.requests[0].headers["authorization"] == "Bearer sk-secret"
        assert server.requests[0].headers["x-team"] == "blue"

    async def test_warming_opens_the_connection_and_sends_no_text(self) -> None:
        async with openai_server("llamacpp") as server:
            backend = OpenAI(Options(url=server.url, model="m"))
            assert await backend.warm(REQUEST) is None
            found = await ask(backend)
            await backend.aclose()
        gone = OpenAI(Options(url=server.url, model="m"))
        met = await gone.warm(REQUEST)
        await gone.aclose()

        assert isinstance(met, Error)
        assert met.message.startswith("cannot reach")
        assert Status("connecting") not in found
        assert server.requests[0].body == b""
        assert json.loads(server.requests[1].body)["return_progress"] is True

    async def test_a_connection_that_the_server_had_closed_is_replaced(self) -> None:
        answers = iter([[CUT], event_stream(chunk({"content": "b"}), data("[DONE]"))])

        def answer(request: Request) -> Script:
            return [response(body=models("fake"))] if request.method == "GET" else next(answers)

        async with http_server(answer) as server:
            backend = OpenAI(Options(url=server.url, model="m"))
            await backend.warm(REQUEST)
            found = await ask(backend)
            await backend.aclose()

        assert of(Token, found) == [Token("b")]
        assert server.connections == 2

    async def test_a_broken_connection_after_the_finish_reason_loses_nothing(self) -> None:
        pieces = (chunk({"content": "a"}), chunk({}, finish_reason="stop"))

        for ending in (CLOSE, CUT):
            found = await ask_once(*event_stream(*pieces, 0.05, end=False), ending)
            assert isinstance(found[-1], Done), found[-1]

    async def test_a_broken_connection_before_it_keeps_the_text(self) -> None:
        found = await ask_once(*event_stream(chunk({"content": "a"}), 0.05, end=False), CUT)

        assert of(Token, found) == [Token("a")]
        assert isinstance(found[-1], Error)
        assert found[-1].code == "INTERRUPTED"

    async def test_a_refusal_is_told_in_the_servers_words_without_the_key(self) -> None:
        body = error("Incorrect API key provided: sk-secret", "invalid_request_error", "invalid_api_key")

        (*_, last) = await ask_once(response(401, body=body))

        assert isinstance(last, Error)
        assert last.code == "HTTP_401"
        assert "Incorrect API key provided: ***" in last.message

    @pytest.mark.parametrize("body", [b"{", b"{}", b'{"data":[]}', b'{"data":[{}]}', b'{"data":[5]}', b"[]", b"\xff"])
    async def test_a_list_without_models(self, body: bytes) -> None:
        async with http_server(lambda _: [response(body=body)]) as server:
            backend = OpenAI(Options(url=server.url))
            (*_, last) = await ask(backend)
            await backend.aclose()

        assert isinstance(last, Error)
        assert last.code == Code.NOT_FOUND
        assert "lists no model" in last.message

    async def test_no_model_and_no_list(self) -> None:
        async with http_server(lambda _: [response(404)]) as server:
            backend = OpenAI(Options(url=server.url))
            last = (await ask(backend))[-1]
            await backend.aclose()

        assert isinstance(last, Error)
        assert last.code == "HTTP_404"

    async def test_comments_and_empty_data_are_no_chunks(self) -> None:
        pieces = (b": OPENROUTER PROCESSING\n\n", b"data: \n\n", chunk({"content": "a"}), data("[DONE]"))

        found = await ask_once(*event_stream(*pieces))

        assert of(Token, found) == [Token("a")]
        assert isinstance(found[-1], Done)
