"""The provider `route` over real servers on sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from backends import config, providers
from backends.backend import Backend, ChatRequest, Message
from backends.errors import ConfigError
from backends.events import Done, Error, Event, Meta, Status, Token
from tests.fakes.http_server import CUT, Request, Script, Server, event_stream, http_server, response
from tests.fakes.openai_server import chunk, completion, data, error, models
from tests.fakes.scripted import Hold

PATIENCE = 20.0
ASKED = ChatRequest((Message("user", "one two"),))


class Box:
    """A server whose behaviour can be changed while it runs."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.script: Script | None = None
        self.asked = 0
        self.server: Server | None = None

    def answer(self, request: Request) -> Script:
        if request.method == "GET":
            return [response(body=models("fake"))]
        self.asked += 1
        return completion(json.loads(request.body)) if self.script is None else self.script


@asynccontextmanager
async def routed(*names: str, **options: object) -> AsyncIterator[tuple[Backend, list[Box]]]:
    """A route over servers of these `names`."""
    boxes = [Box(name) for name in names]
    async with asyncio.timeout(PATIENCE):
        servers = [http_server(box.answer) for box in boxes]
        try:
            for box, server in zip(boxes, servers, strict=True):
                box.server = await server.__aenter__()
            backend = providers.open_backend(configured(boxes, **options), "best")
            yield backend, boxes
            await backend.aclose()
        finally:
            for server in servers:
                await server.__aexit__(None, None, None)


def configured(boxes: list[Box], **options: object) -> config.ConfigFile:
    """A configuration with all of them."""
    settings = {"over": [box.name for box in boxes], "ttft_ms": 10_000.0} | options
    text = "[backends.best]\ntype = 'route'\n" + "".join(f"{key} = {value!r}\n" for key, value in settings.items())
    for box in boxes:
        assert box.server is not None
        text += f"[backends.{box.name}]\ntype = 'openai'\nurl = '{box.server.url}'\nmodel = '{box.name}'\n"
    return config.parse(text, Path("c.toml"))


async def ask(backend: Backend) -> list[Event]:
    """All events of one answer."""
    return [event async for event in backend.stream(ASKED)]


def routes(found: list[Event]) -> list[str]:
    """What was said of who answers, one after the other."""
    return [event.route for event in found if isinstance(event, Meta) and event.route]


def text(found: list[Event]) -> str:
    """The answer."""
    return "".join(event.text for event in found if isinstance(event, Token))


def refused(status: int, *headers: str) -> Script:
    """A server that does not answer."""
    return [response(status, body=error("not today"), headers=headers)]


async def test_each_is_measured_and_then_the_fastest_answers() -> None:
    async with routed("gpu", "laptop") as (backend, (gpu, laptop)):
        laptop.script = event_stream(0.2, chunk({"content": "slow"}), chunk({}, finish_reason="stop"), data("[DONE]"))
        found = [await ask(backend) for _ in range(4)]

    assert [text(each) for each in found] == ["one two", "slow", "one two", "one two"]
    assert routes(found[1]) == ["laptop: not measured yet"]
    assert routes(found[3])[0].startswith("gpu: fastest, ")
    assert Status("connecting", detail=routes(found[3])[0]) in found[3]
    assert (gpu.asked, laptop.asked) == (3, 1)


@pytest.mark.parametrize(
    ("script", "says"),
    [
        (refused(503), "HTTP 503"),
        (refused(401), "HTTP 401"),
        ([CUT], "closed the connection"),
        (event_stream(data(json.dumps({"error": {"message": "out of memory"}}))), "out of memory"),
        (event_stream(b"data: nonsense\n\n"), "not a JSON object"),
    ],
    ids=["unavailable", "no key", "cut", "error inside", "nonsense"],
)
async def test_another_one_takes_over_before_the_first_token(script: Script, says: str) -> None:
    async with routed("gpu", "laptop") as (backend, (gpu, laptop)):
        gpu.script = script
        found = await ask(backend)
        again = await ask(backend)

    assert isinstance(found[-1], Done), found[-1]
    assert not any(isinstance(event, Error) for event in found)
    assert text(found) == "one two"
    assert routes(found)[1].startswith("laptop: ")
    assert says in routes(found)[1]
    assert routes(again) == ["laptop: the others have failed lately"]
    assert (gpu.asked, laptop.asked) == (1, 2)
    spans = [span for event in found if isinstance(event, Meta) for span in event.spans]
    assert next(span for span in spans if span.stage == "retry").duration > 0


async def test_who_takes_too_long_is_left_and_sees_it() -> None:
    async with routed("gpu", "laptop", ttft_ms=100.0) as (backend, (gpu, laptop)):
        gpu.script = event_stream(b": still at it\n\n", Hold())
        found = await ask(backend)
        assert gpu.server is not None
        while gpu.server.answering:  # noqa: ASYNC110 - looks at what has no event
            await asyncio.sleep(0.005)
        again = await ask(backend)

    assert text(found) == text(again) == "one two"
    assert routes(found)[1] == "laptop: gpu gave no token within 100 ms"
    assert (gpu.asked, gpu.server.disconnects, laptop.asked) == (1, 1, 2)


async def test_who_was_only_slow_is_waited_for_when_nobody_else_answers() -> None:
    slow = event_stream(0.4, chunk({"content": "at last"}), chunk({}, finish_reason="stop"), data("[DONE]"))
    async with routed("gpu", "laptop", ttft_ms=100.0) as (backend, (gpu, laptop)):
        gpu.script, laptop.script = slow, refused(500)
        found = await ask(backend)

    assert text(found) == "at last"
    assert gpu.asked == 2


async def test_after_the_first_token_the_answer_stays_where_it_is() -> None:
    async with routed("gpu", "laptop", ttft_ms=300.0) as (backend, (gpu, laptop)):
        gpu.script = [*event_stream(chunk({"content": "half"}), 0.5, end=False), CUT]
        found = await ask(backend)
        again = await ask(backend)

    assert text(found) == "half"
    assert isinstance(found[-1], Error)
    assert found[-1].code == "INTERRUPTED"
    assert text(again) == "one two"
    assert (gpu.asked, laptop.asked) == (1, 1)


async def test_it_is_tried_again_after_a_while_and_is_back_when_it_works() -> None:
    async with routed("gpu", "laptop", prefer="order", avoid=0.05) as (backend, (gpu, laptop)):
        gpu.script = refused(503)
        await ask(backend)
        await asyncio.sleep(0.06)
        gpu.script = None
        back = await ask(backend)

    assert routes(back) == ["gpu: first in order"]
    assert (gpu.asked, laptop.asked) == (2, 1)


async def test_retry_after_is_kept_to() -> None:
    async with routed("gpu", "laptop", avoid=0.01) as (backend, (gpu, laptop)):
        gpu.script = refused(429, "retry-after: 60")
        await ask(backend)
        await asyncio.sleep(0.02)
        await ask(backend)

    assert (gpu.asked, laptop.asked) == (1, 2)


async def test_a_request_that_is_at_fault_itself_makes_nobody_avoided() -> None:
    async with routed("gpu", "laptop", prefer="order") as (backend, (gpu, _)):
        gpu.script = refused(400)
        await ask(backend)
        gpu.script = None
        again = await ask(backend)

    assert routes(again) == ["gpu: first in order"]


async def test_where_nobody_answers_each_is_named() -> None:
    async with routed("gpu", "laptop") as (backend, (gpu, laptop)):
        gpu.script, laptop.script = refused(401), refused(503)
        found = await ask(backend)

    last = found[-1]
    assert isinstance(last, Error)
    assert (last.code, last.retryable) == ("HTTP_503", True)
    assert last.message.startswith("none of 2 backends answers: gpu: ")
    assert "; laptop: " in last.message


async def test_a_smaller_model_of_the_same_backend() -> None:
    async with http_server(
        lambda request: refused(529) if b'"large"' in request.body else completed(request)
    ) as server:
        table = "over = ['gpu', {backend = 'gpu', model = 'small'}]"
        file = config.parse(
            f"[backends.best]\ntype = 'route'\n{table}\n"
            f"[backends.gpu]\ntype = 'openai'\nurl = '{server.url}'\nmodel = 'large'\n"
        )
        backend = providers.open_backend(file, "best")
        found = await ask(backend)
        await backend.aclose()

    assert text(found) == "one two"
    assert routes(found)[1].startswith("gpu (small): ")
    assert [json.loads(request.body)["model"] for request in server.requests] == ["large", "small"]


def completed(request: Request) -> Script:
    """The echo."""
    return completion(json.loads(request.body))


async def test_typing_finds_out_who_is_there() -> None:
    async with routed("gpu", "laptop") as (backend, (gpu, laptop)):
        assert gpu.server is not None
        gpu.server.answer = lambda _: refused(503)
        assert await backend.warm(ChatRequest((Message("user", "not yet sent"),))) is None
        found = await ask(backend)

    assert routes(found) == ["laptop: the others have failed lately"]
    assert laptop.server is not None
    assert (gpu.asked, laptop.server.connections) == (0, 1)
    assert all(b"not yet sent" not in request.body for request in gpu.server.requests + laptop.server.requests)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("over = []", "names no backend"),
        ("over = ['nobody']", "there is no backend 'nobody'"),
        ("over = ['best']", "contains itself"),
        ("over = [{backend = 'demo', modle = 'x'}]", r"line 3: unknown key 'modle'"),
        ("over = ['demo']\nttft_ms = 0", "ttft_ms"),
        ("over = ['demo']\nprefer = 'cheapest'", "prefer"),
    ],
)
def test_mistakes(table: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        providers.open_backend(config.parse(f"[backends.best]\ntype = 'route'\n{table}\n", Path("c.toml")), "best")
