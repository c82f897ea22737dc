"""What other people's clients make of our service, and of the servers that stand for theirs in these tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from backends.events import Citation, Done, Error, Meta, Reasoning, Token
from backends.serve.app import Public
from backends.serve.guard import Access
from backends.serve.models import Models
from tests.fakes.anthropic_server import MODEL as CLAUDE
from tests.fakes.anthropic_server import anthropic_server
from tests.fakes.echo import Echo
from tests.fakes.openai_server import MODEL, openai_server
from tests.fakes.responses_server import responses_server
from tests.fakes.scripted import Scripted
from tests.serve.conftest import PATIENCE, Start, eventually

openai = pytest.importorskip("openai", reason="pip install 'llmchat[clients]'")
anthropic = pytest.importorskip("anthropic", reason="pip install 'llmchat[clients]'")

USER = {"role": "user", "content": "one two three"}


@pytest.fixture
async def http() -> AsyncIterator[object]:
    """A connection that no proxy of the environment stands in, as both clients take it."""
    import httpx

    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as client:
        yield client


def client(url: str, http: object, key: str = "none") -> object:
    """OpenAI's own client for the server at `url`."""
    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, http_client=http)


class TestOurService:
    async def test_models_and_a_whole_answer(self, start: Start, http: object) -> None:
        service = await start(Echo(), public=Public(Models("tiny")))
        ours = client(service.url, http)

        listed = [model.id async for model in ours.models.list()]  # type: ignore[attr-defined]
        found = await ours.chat.completions.create(model="tiny", messages=[USER])  # type: ignore[attr-defined]

        assert listed == ["tiny"]
        assert found.choices[0].message.content == "one two three"
        assert (found.choices[0].finish_reason, found.usage.completion_tokens) == ("stop", 3)

    async def test_a_stream_with_all_there_is(self, start: Start, http: object) -> None:
        told = Meta("inner", prompt_tokens=12, cached_tokens=8, completion_tokens=3)
        script = (Reasoning("hm"), Token("Yes"), Token(" [S1]"), Citation("faq.md", "S1"), told, Done(3, 9.0, "length"))
        service = await start(Scripted(*script), public=Public(Models("tiny")))

        options = {"model": "tiny", "messages": [USER], "stream": True, "stream_options": {"include_usage": True}}
        stream = await client(service.url, http).chat.completions.create(**options)  # type: ignore[attr-defined]
        chunks = [chunk async for chunk in stream]

        choices = [choice for chunk in chunks for choice in chunk.choices]
        assert "".join(choice.delta.content or "" for choice in choices) == "Yes [S1]"
        assert [choice.finish_reason for choice in choices if choice.finish_reason] == ["length"]
        assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.prompt_tokens_details.cached_tokens) == (12, 8)

    async def test_its_streaming_helper_puts_the_answer_together(self, start: Start, http: object) -> None:
        service = await start(Echo(), public=Public(Models("tiny")))

        completions = client(service.url, http).chat.completions  # type: ignore[attr-defined]
        async with completions.stream(model="tiny", messages=[USER]) as stream:
            whole = await stream.get_final_completion()

        assert whole.choices[0].message.content == "one two three"

    async def test_leaving_early_cancels(self, start: Start, http: object) -> None:
        echo = Echo()
        service = await start(echo, public=Public(Models("tiny")), resume_grace=0.0)

        endless = [{"role": "user", "content": "forever and ever"}]
        completions = client(service.url, http).chat.completions  # type: ignore[attr-defined]
        stream = await completions.create(model="tiny", messages=endless, stream=True)
        async for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content:
                break
        assert echo.streaming == 1
        await stream.close()

        await eventually(lambda: echo.streaming == 0)

    @pytest.mark.parametrize(
        ("failure", "raised"),
        [
            (Error("OVERLOADED", "the queue is full", True, 7.0), "InternalServerError"),
            (Error("CONTEXT_FULL", "4,000 > 2,048 tokens"), "BadRequestError"),
            (Error("MODEL_LOAD", "no such file"), "InternalServerError"),
        ],
    )
    async def test_errors_are_its_own_exceptions(self, start: Start, http: object, failure: Error, raised: str) -> None:
        service = await start(Scripted(failure), public=Public(Models("tiny")))

        with pytest.raises(openai.APIStatusError) as caught:
            await client(service.url, http).chat.completions.create(  # type: ignore[attr-defined]
                model="tiny", messages=[USER]
            )

        assert failure.message in str(caught.value)
        assert type(caught.value).__name__ == raised

    async def test_a_wrong_key_and_an_unknown_model(self, start: Start, http: object) -> None:
        service = await start(Echo(), public=Public(Models("tiny")), access=Access("right"))

        with pytest.raises(openai.AuthenticationError):
            await client(service.url, http, "wrong").models.list()  # type: ignore[attr-defined]
        with pytest.raises(openai.NotFoundError):
            await client(service.url, http, "right").chat.completions.create(  # type: ignore[attr-defined]
                model="huge", messages=[USER]
            )


class TestWhatStandsForOthers:
    """The fakes that our own dialects are tested on speak what the official clients read."""

    async def test_chat_completions(self, http: object) -> None:
        async with openai_server() as server:
            theirs = client(server.url, http)
            assert [model.id async for model in theirs.models.list()] == [MODEL]  # type: ignore[attr-defined]
            async with theirs.chat.completions.stream(model=MODEL, messages=[USER]) as stream:  # type: ignore[attr-defined]
                whole = await stream.get_final_completion()

        assert whole.choices[0].message.content == "one two three"

    async def test_responses(self, http: object) -> None:
        async with responses_server() as server:
            responses = client(server.url, http).responses  # type: ignore[attr-defined]
            async with responses.stream(model=MODEL, input=[USER]) as stream:
                whole = await stream.get_final_response()

        assert whole.output_text == "one two three"
        assert whole.usage.output_tokens == 3

    async def test_messages(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        content = [{"type": "text", "text": "one two three"}]
        async with anthropic_server("k") as server:
            asked = {"model": CLAUDE, "max_tokens": 9, "messages": [{"role": "user", "content": content}]}
            async with anthropic.AsyncAnthropic(base_url=server.url, api_key="k", max_retries=0) as theirs:
                assert [model.id async for model in theirs.models.list()] == [CLAUDE, "old"]
                async with theirs.messages.stream(**asked) as stream:
                    whole = await stream.get_final_message()

        assert whole.content[0].text == "one two three"
        assert (whole.stop_reason, whole.usage.output_tokens) == ("end_turn", 3)
