"""The provider `responses`: its events to ours, its requests, and a whole conversation on a real socket."""

from __future__ import annotations

import asyncio
import json

import msgspec
import pytest

from backends.backend import ChatRequest, Message, Sampling
from backends.errors import BackendError, Code
from backends.events import Done, Error, Event, Meta, Reasoning, Token
from backends.providers.responses import Options, ResponseReader, Responses, request_body
from backends.sse.placement import Timing
from tests.fakes.openai_server import MODEL
from tests.fakes.responses_server import counts, event, responses_server, text, whole
from tests.providers.reading import events_of, of

PATIENCE = 20.0
REQUEST = ChatRequest((Message("system", "be brief"), Message("user", "one two")), max_tokens=9)


def read(*pieces: bytes) -> list[Event]:
    """The events of some frames."""
    return events_of(ResponseReader(Timing(), "server"), (piece.decode().partition("data: ")[2] for piece in pieces))


CREATED = event("response.created", response=whole("in_progress"))


class TestEvents:
    def test_a_plain_answer(self) -> None:
        usage = counts(50, 5, cached=32, reasoning=3)

        found = read(
            CREATED, text("Hel"), text("lo"), event("response.completed", response=whole("completed", usage=usage))
        )

        assert of(Token, found) == [Token("Hel", 0), Token("lo", 0)]
        assert (found[0].model, found[0].request_id) == (MODEL, "resp_1")  # type: ignore[union-attr]
        meta = of(Meta, found)[-1]
        assert (meta.prompt_tokens, meta.completion_tokens, meta.cached_tokens, meta.reasoning_tokens) == (50, 5, 32, 3)
        assert found[-1] == Done(5, 130.0, "stop")

    @pytest.mark.parametrize("kind", ["reasoning_summary_text", "reasoning_text"])
    def test_thinking(self, kind: str) -> None:
        found = read(CREATED, text("hm", kind), text("a"), event("response.completed", response=whole("completed")))

        assert of(Reasoning, found) == [Reasoning("hm", 0)]
        assert of(Token, found) == [Token("a", 0)]

    @pytest.mark.parametrize(
        ("reason", "finish"), [("max_output_tokens", "length"), ("content_filter", "content_filter"), ("x", "length")]
    )
    def test_an_answer_that_is_cut(self, reason: str, finish: str) -> None:
        cut = whole("incomplete", incomplete_details={"reason": reason}, usage=counts(1, 1))

        last = read(CREATED, text("a"), event("response.incomplete", response=cut))[-1]

        assert isinstance(last, Done)
        assert last.finish_reason == finish

    @pytest.mark.parametrize(
        ("ending", "code"),
        [
            (
                event("response.failed", response=whole("failed", error={"code": "server_error", "message": "broke"})),
                "HTTP_500",
            ),
            (event("error", code="rate_limit_exceeded", message="it broke", param=None), "HTTP_429"),
            (event("error", code="context_length_exceeded", message="it broke", param=None), "CONTEXT_FULL"),
            (event("error", code=None, message="it broke", param=None), "BAD_RESPONSE"),
        ],
    )
    def test_an_error_in_mid_answer(self, ending: bytes, code: str) -> None:
        found = read(CREATED, text("a"), ending)

        assert of(Token, found) == [Token("a", 0)]
        assert isinstance(found[-1], Error)
        assert found[-1].code == code
        assert "broke" in found[-1].message

    def test_a_body_that_ends_too_early_was_interrupted(self) -> None:
        last = read(CREATED, text("a"), event("response.output_text.done", text="a"))[-1]

        assert isinstance(last, Error)
        assert last.code == Code.INTERRUPTED


class TestRequests:
    def test_what_is_sent(self) -> None:
        sampling = Sampling(temperature=0.5, json_schema={"type": "object"})

        body = request_body(msgspec.structs.replace(REQUEST, sampling=sampling), "m")

        assert body == {
            "model": "m",
            "input": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "one two"}],
            "stream": True,
            "store": False,
            "max_output_tokens": 9,
            "temperature": 0.5,
            "text": {"format": {"type": "json_schema", "name": "answer", "schema": {"type": "object"}, "strict": True}},
        }

    def test_sampling_that_it_does_not_know_is_refused(self) -> None:
        with pytest.raises(BackendError, match="has no seed"):
            request_body(msgspec.structs.replace(REQUEST, sampling=Sampling(seed=1)), "m")


async def test_a_whole_conversation() -> None:
    async with responses_server() as server:
        backend = Responses(Options(url=f"{server.url}/v1/responses", extra_body={"reasoning": {"summary": "auto"}}))
        async with asyncio.timeout(PATIENCE):
            found = [event async for event in backend.stream(REQUEST)]
        await backend.aclose()

    assert "".join(token.text for token in of(Token, found)) == "one two"
    body = json.loads(server.requests[-1].body)
    assert (body["model"], body["reasoning"]) == (MODEL, {"summary": "auto"})
