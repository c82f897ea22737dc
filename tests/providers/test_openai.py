"""The provider `openai`: its requests, and whole conversations with a server of its wire form."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest

from backends.backend import ChatRequest, Message, Sampling
from backends.errors import Code
from backends.events import Citation, Done, Error, Event, Status, Token
from backends.foreign.turns import GO_ON
from backends.providers.openai import OpenAI, Options, base_address, request_body
from tests.fakes.http_server import CLOSE, CUT, Request, Script, Step, event_stream, http_server, response
from tests.fakes.openai_server import MODEL, chunk, data, error, models, openai_server
from tests.providers.reading import of

PATIENCE = 20.0
REQUEST = ChatRequest((Message("user", "one two"),), max_tokens=9)


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

    def test_sglang_is_asked_what_its_cache_held_and_what_it_drafted(self) -> None:
        body = request_body(REQUEST, "m", "sglang")

        assert body["return_cached_tokens_details"] is body["return_spec_tokens_details"] is True

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
