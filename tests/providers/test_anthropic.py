"""The provider `anthropic`: its events to ours, its requests, and whole conversations on a real socket."""

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
from backends.events import Done, Error, Event, Meta, Reasoning, Status, Token, is_terminal
from backends.foreign.turns import GO_ON
from backends.providers.anthropic import Anthropic, MessageReader, Options, request_body
from backends.sse.placement import Timing
from tests.fakes.anthropic_server import MODEL, NEWER, anthropic_server, end, error, event, start, stop, text
from tests.fakes.http_server import http_server, response
from tests.providers.reading import events_of, of

PATIENCE = 20.0
REQUEST = ChatRequest((Message("system", "be brief"), Message("user", "one two")), max_tokens=9)


def read(*pieces: bytes) -> list[Event]:
    """The events of some frames."""
    reader = MessageReader(Timing(), "server", secrets=("sk-secret",))
    return events_of(reader, (piece.decode().partition("data: ")[2] for piece in pieces))


class TestEvents:
    def test_a_plain_answer(self) -> None:
        found = read(
            start(input_tokens=7, output_tokens=1),
            event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
            event("ping"),
            text("Hel"),
            text("lo"),
            event("content_block_stop", index=0),
            stop(output_tokens=5),
            end(),
        )

        assert of(Token, found) == [Token("Hel", 0), Token("lo", 0)]
        assert (found[0].model, found[0].request_id) == (MODEL, "msg_1")  # type: ignore[union-attr]
        assert found[-1] == Done(5, 170.0, "stop")

    def test_the_prompt_is_what_was_read_written_and_neither(self) -> None:
        usage = {"input_tokens": 3, "cache_read_input_tokens": 40, "cache_creation_input_tokens": 5}

        meta = of(Meta, read(start(**usage, output_tokens=1)))[-1]

        assert (meta.prompt_tokens, meta.cached_tokens, meta.cache_write_tokens) == (48, 40, 5)
        assert meta.completion_tokens is None  # the count in message_start is a placeholder

    def test_thinking_is_told_apart_and_signatures_are_no_text(self) -> None:
        found = read(start(), text("hm", "thinking"), text("c2ln", "signature"), text("a"), stop(), end())

        assert of(Reasoning, found) == [Reasoning("hm", 0)]
        assert of(Token, found) == [Token("a", 0)]

    @pytest.mark.parametrize(
        ("reason", "finish"),
        [
            ("end_turn", "stop"),
            ("stop_sequence", "stop"),
            ("max_tokens", "length"),
            ("model_context_window_exceeded", "length"),
            ("tool_use", "tool_calls"),
            ("refusal", "content_filter"),
            ("new_reason", "stop"),
        ],
    )
    def test_how_it_ended(self, reason: str, finish: str) -> None:
        last = read(start(), text("a"), stop(reason, output_tokens=1), end())[-1]

        assert isinstance(last, Done)
        assert last.finish_reason == finish
        assert bool(last.detail) == (reason == "model_context_window_exceeded")

    @pytest.mark.parametrize(
        ("kind", "code", "retryable"),
        [
            ("overloaded_error", "HTTP_529", True),
            ("rate_limit_error", "HTTP_429", True),
            ("invalid_request_error", "HTTP_400", False),
            ("some_new_error", "BAD_RESPONSE", True),
        ],
    )
    def test_an_error_in_mid_answer(self, kind: str, code: str, retryable: bool) -> None:
        found = read(start(), text("a"), b"event: error\ndata: " + error(kind, "Overloaded by sk-secret"))

        assert of(Token, found) == [Token("a", 0)]
        assert isinstance(found[-1], Error)
        assert (found[-1].code, found[-1].retryable) == (code, retryable)
        assert "Overloaded by ***" in found[-1].message

    def test_a_body_that_ends_too_early_was_interrupted(self) -> None:
        last = read(start(), text("a"))[-1]

        assert isinstance(last, Error)
        assert last.code == Code.INTERRUPTED

    def test_events_of_later_versions_are_passed_over(self) -> None:
        assert of(Token, read(start(), event("content_block_new", x=1), text("a"), stop(), end())) == [Token("a", 0)]

    @given(
        st.recursive(
            st.none() | st.integers() | st.text(),
            lambda inner: (
                st.lists(inner)
                | st.dictionaries(
                    st.sampled_from(["type", "delta", "message", "usage", "content_block", "text"]), inner
                )
            ),
        ),
        st.sampled_from(["message_start", "content_block_start", "content_block_delta", "message_delta", "error"]),
    )
    def test_whatever_comes_the_end_is_one(self, value: Any, kind: str) -> None:
        fields = {"delta": value, "message": value, "usage": value, "content_block": value}
        found = read(event(kind, **fields), stop(), end())
        assert sum(map(is_terminal, found)) == 1


class TestRequests:
    def test_what_is_sent(self) -> None:
        messages = (Message("system", "s"), Message("user", "a"), Message("assistant", "b"), Message("user", "c"))
        sampling = Sampling(temperature=0.5, top_k=3, top_p=0.9, stop=("x",))

        body = request_body(ChatRequest(messages, max_tokens=9, sampling=sampling), "m")

        cached = {"cache_control": {"type": "ephemeral"}}
        assert json.loads(msgspec.json.encode(body)) == {
            "model": "m",
            "max_tokens": 9,
            "stream": True,
            "system": [{"type": "text", "text": "s", **cached}],
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "a"}]},
                {"role": "assistant", "content": [{"type": "text", "text": "b"}]},
                {"role": "user", "content": [{"type": "text", "text": "c", **cached}]},
            ],
            "temperature": 0.5,
            "top_k": 3,
            "top_p": 0.9,
            "stop_sequences": ["x"],
        }

    def test_thinking_comes_on_top_of_the_answers_limit(self) -> None:
        body = request_body(REQUEST, "m", 2048)

        assert (body["max_tokens"], body["thinking"]) == (2057, {"type": "enabled", "budget_tokens": 2048})
        assert "thinking" not in request_body(msgspec.structs.replace(REQUEST, reasoning="off"), "m", 2048)

    def test_going_on_after_a_cut(self) -> None:
        *_, question, cut = request_body(msgspec.structs.replace(REQUEST, continue_from="one \n"), "m")["messages"]

        assert cut == {"role": "assistant", "content": [{"type": "text", "text": "one"}]}
        assert "cache_control" in question["content"][0]

    def test_who_thinks_is_asked_in_words_to_go_on(self) -> None:
        *_, cut, words = request_body(msgspec.structs.replace(REQUEST, continue_from="one"), "m", 2048)["messages"]

        assert (cut["role"], words["role"]) == ("assistant", "user")

    def test_a_model_that_takes_no_budget_decides_by_itself(self) -> None:
        body = request_body(REQUEST, "m", 2048, budget=False)

        assert (body["max_tokens"], body["thinking"]) == (2057, {"type": "adaptive", "display": "summarized"})

    def test_sampling_that_it_does_not_know_is_refused(self) -> None:
        with pytest.raises(BackendError, match="has no min_p") as caught:
            request_body(ChatRequest((Message("user", "a"),), sampling=Sampling(min_p=0.1)), "m")
        assert caught.value.code == Code.BAD_REQUEST


async def ask(backend: Anthropic, request: ChatRequest = REQUEST) -> list[Event]:
    """All events of one answer."""
    async with asyncio.timeout(PATIENCE):
        return [event async for event in backend.stream(request)]


class TestConversations:
    async def test_the_key_goes_out_as_the_api_wants_it(self) -> None:
        async with anthropic_server("sk-secret") as server:
            backend = Anthropic(Options(url=server.url, headers={"anthropic-beta": "x"}), token="sk-secret")
            assert await backend.models() == (MODEL,)
            found = await ask(backend)
            await backend.aclose()

        assert "".join(token.text for token in of(Token, found)) == "one two"
        headers = server.requests[-1].headers
        assert (headers["x-api-key"], headers["anthropic-beta"]) == ("sk-secret", "x")
        assert "authorization" not in headers

    @pytest.mark.parametrize("thinking_tokens", [0, 2048])
    async def test_what_a_newer_model_refuses_is_put_otherwise_once(self, thinking_tokens: int) -> None:
        cut = msgspec.structs.replace(REQUEST, continue_from="one")
        async with anthropic_server() as server:
            backend = Anthropic(Options(url=server.url, model=NEWER, thinking_tokens=thinking_tokens))
            first, second = await ask(backend, cut), await ask(backend, cut)
            old = await ask(backend, msgspec.structs.replace(cut, model=MODEL))
            await backend.aclose()

        for found in (first, second, old):
            assert isinstance(found[-1], Done), found[-1]
        (told,) = [event for event in first if isinstance(event, Status) and event.status == "retrying"]
        assert ("thinking_tokens" if thinking_tokens else "in words") in told.detail
        assert any(span.stage == "retry" for meta in of(Meta, first) for span in meta.spans)
        assert not any(event.status == "retrying" for event in of(Status, [*second, *old]))
        *_, last, old_sent = [json.loads(request.body) for request in server.requests if request.method == "POST"]
        assert last["messages"][-2:] == [
            {"role": "assistant", "content": [{"type": "text", "text": "one"}]},
            {"role": "user", "content": [{"type": "text", "text": GO_ON, "cache_control": {"type": "ephemeral"}}]},
        ]
        assert last.get("thinking", {}).get("type") == ("adaptive" if thinking_tokens else None)
        assert old_sent["messages"][-1]["role"] == ("user" if thinking_tokens else "assistant")
        assert len(server.requests) == 5  # the models, asked for once, and one answer more than questions

    async def test_another_refusal_is_the_end(self) -> None:
        async with http_server(lambda _: [response(400, body=error("invalid_request_error", "prefill"))]) as server:
            backend = Anthropic(Options(url=server.url, model=MODEL))
            plain = await ask(backend)
            cut = await ask(backend, msgspec.structs.replace(REQUEST, continue_from="one"))
            await backend.aclose()

        assert [event.code for event in (plain[-1], cut[-1]) if isinstance(event, Error)] == ["HTTP_400"] * 2
        assert sum(request.method == "POST" for request in server.requests) == 3

    async def test_a_wrong_key_is_told_in_the_servers_words(self) -> None:
        async with anthropic_server("sk-secret") as server:
            backend = Anthropic(Options(url=f"{server.url}/v1/messages", model="m"), token="sk-wrong")
            (*_, last) = await ask(backend)
            await backend.aclose()

        assert isinstance(last, Error)
        assert last.code == "HTTP_401"
        assert "invalid x-api-key" in last.message
