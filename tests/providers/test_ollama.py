"""The provider `ollama`: its lines to events, its requests, and whole conversations on a real socket."""

from __future__ import annotations

import asyncio
import json

import msgspec
import pytest

from backends.backend import ChatRequest, Message, Sampling
from backends.errors import BackendError, Code
from backends.events import Done, Error, Event, Meta, Reasoning, Token
from backends.providers.ollama import LineReader, Ollama, Options, request_body
from backends.sse.placement import Timing
from backends.telemetry.stages import Span
from tests.fakes.http_server import CUT, Step, event_stream, http_server, response
from tests.fakes.ollama_server import LINES, MODEL, last, line, ollama_server
from tests.providers.reading import events_of, of

PATIENCE = 20.0
REQUEST = ChatRequest((Message("user", "one two"),), max_tokens=9)


def read(*lines: bytes) -> list[Event]:
    """The events of some lines."""
    return events_of(LineReader(Timing(send_end=5.0), "server"), (line.decode() for line in lines))


class TestLines:
    def test_a_plain_answer(self) -> None:
        found = read(line("Hel"), line("lo"), last())

        assert of(Token, found) == [Token("Hel"), Token("lo")]
        assert found[0].model == MODEL  # type: ignore[union-attr]
        assert found[-1] == Done(2, 120.0, "stop")

    def test_durations_are_nanoseconds(self) -> None:
        durations = {"load_duration": 20_000_000, "prompt_eval_duration": 30_000_000, "eval_duration": 10_000_000}

        found = read(line("a"), line("b"), last("length", prompt_eval_count=9, eval_count=2, **durations))

        meta = of(Meta, found)[-1]
        assert meta.spans == (
            Span("model_load", 50.0, 20.0),
            Span("prefill", 70.0, 30.0),
            Span("total_generation", 100.0, 10.0),
        )
        assert (meta.prompt_tokens, meta.completion_tokens) == (9, 2)
        assert found[-1] == Done(2, 120.0, "length")

    def test_thinking(self) -> None:
        found = read(line("", thinking="hm"), line("a"), last())

        assert of(Reasoning, found) == [Reasoning("hm")]
        assert of(Token, found) == [Token("a")]

    def test_an_error_in_mid_answer(self) -> None:
        found = read(line("a"), b'{"error":"an error was encountered while running the model"}\n')

        assert isinstance(found[-1], Error)
        assert "encountered while running" in found[-1].message


class TestRequests:
    def test_what_is_sent(self) -> None:
        sampling = Sampling(temperature=0.0, repetition_penalty=1.1, penalty_last_n=64, seed=7, stop=("x",))
        request = msgspec.structs.replace(REQUEST, sampling=sampling, reasoning="off")

        body = json.loads(msgspec.json.encode(request_body(request, "m", "5m", 8192)))

        assert body == {
            "model": "m",
            "messages": [{"role": "user", "content": "one two"}],
            "stream": True,
            "think": False,
            "keep_alive": "5m",
            "options": {
                "num_predict": 9,
                "num_ctx": 8192,
                "temperature": 0.0,
                "repeat_penalty": 1.1,
                "repeat_last_n": 64,
                "seed": 7,
                "stop": ["x"],
            },
        }

    def test_a_schema_and_a_lasting_model(self) -> None:
        sampling = Sampling(json_schema={"type": "object"})

        body = request_body(msgspec.structs.replace(REQUEST, sampling=sampling), "m", "-1")

        assert (body["format"], body["keep_alive"]) == ({"type": "object"}, -1)

    def test_sampling_that_it_does_not_know_is_refused(self) -> None:
        with pytest.raises(BackendError, match="Ollama has no grammar"):
            request_body(msgspec.structs.replace(REQUEST, sampling=Sampling(grammar="root ::= 1")), "m")


async def ask(backend: Ollama) -> list[Event]:
    """All events of one answer."""
    async with asyncio.timeout(PATIENCE):
        return [event async for event in backend.stream(REQUEST)]


async def ask_once(*script: Step) -> list[Event]:
    """What comes of a server that answers every request with `script`."""
    async with http_server(lambda _: script) as server:
        backend = Ollama(Options(url=server.url, model="m"))
        try:
            return await ask(backend)
        finally:
            await backend.aclose()


class TestConversations:
    @pytest.mark.parametrize("path", ["", "/api", "/v1", "/api/chat"])
    async def test_the_first_model_is_taken(self, path: str) -> None:
        async with ollama_server() as server:
            backend = Ollama(Options(url=server.url + path))
            assert await backend.models() == (MODEL,)
            assert of(Token, await ask(backend)) == [Token("one"), Token(" two")]
            await backend.aclose()

        assert json.loads(server.requests[-1].body)["model"] == MODEL
        assert server.connections == 1

    async def test_lines_in_pieces(self) -> None:
        whole = line("ä") + b"\n" + line("b") + last()
        pieces = [whole[at : at + 7] for at in range(0, len(whole), 7)]

        found = await ask_once(*event_stream(*pieces, content_type=LINES))

        assert of(Token, found) == [Token("ä"), Token("b")]
        assert isinstance(found[-1], Done)

    async def test_a_line_that_is_cut_was_interrupted(self) -> None:
        found = await ask_once(*event_stream(line("a"), line("b")[:20], 0.05, content_type=LINES, end=False), CUT)

        assert of(Token, found) == [Token("a")]
        assert isinstance(found[-1], Error)
        assert found[-1].code == Code.INTERRUPTED

    async def test_a_body_that_stops_in_mid_line_was_interrupted(self) -> None:
        found = await ask_once(*event_stream(line("a"), line("b")[:20], content_type=LINES))

        assert isinstance(found[-1], Error)
        assert found[-1].code == Code.INTERRUPTED

    async def test_what_is_no_lines(self) -> None:
        found = await ask_once(*event_stream(b"data: {}\n\n"))

        assert isinstance(found[-1], Error)
        assert found[-1].code == Code.BAD_RESPONSE
        assert "instead of lines of JSON" in found[-1].message

    async def test_no_such_model(self) -> None:
        found = await ask_once(response(404, body=b'{"error":"model \'m\' not found"}'))

        assert isinstance(found[-1], Error)
        assert (found[-1].code, "model 'm' not found" in found[-1].message) == ("HTTP_404", True)
