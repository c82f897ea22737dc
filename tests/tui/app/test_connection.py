"""The backend in use: opened once, warmed, exchanged, closed."""

from __future__ import annotations

import asyncio

import pytest

import tui.connection
from backends import config
from backends.backend import Backend, ChatRequest
from backends.errors import BackendError, Code
from backends.events import Error, Status, Token
from backends.providers import open_backend
from backends.telemetry.timeline import Timeline
from tests.fakes.openai_server import openai_server
from tests.fakes.scripted import Scripted
from tui.connection import Connection

REQUEST = ChatRequest(())


class Opener:
    """Opens scripted backends and counts; names that start with "no" cannot be opened."""

    def __init__(self) -> None:
        self.opened: list[Scripted] = []

    def __call__(self, name: str) -> Backend:
        if name.startswith("no"):
            raise BackendError(Code.CONFIG, f"{name}: cannot be")
        self.opened.append(Scripted())
        return self.opened[-1]


async def test_it_is_opened_once_whoever_asks() -> None:
    opener = Opener()
    connection = Connection(opener, "demo")
    assert connection.state == "opening"
    first, second = await asyncio.gather(connection.backend(), connection.backend())
    assert first is second is opener.opened[0]
    await connection.aclose()
    assert opener.opened[0].closed


async def test_preparing_opens_and_warms() -> None:
    opener = Opener()
    connection = Connection(opener, "demo")
    await connection.warm(REQUEST)
    assert opener.opened == []  # a hint opens nothing
    await connection.prepare(REQUEST)
    assert connection.state == "ready"
    await connection.warm(REQUEST)
    assert opener.opened[0].warmed == [REQUEST, REQUEST]


async def test_what_the_server_is_is_told_whatever_the_configuration_adds() -> None:
    async with openai_server("llamacpp") as server:
        table = f'type = "auto"\nurl = "{server.url}/v1"\nsampling = {{top_k = 3}}\nprice_input = 1.0\n'
        file = config.parse(f"[backends.a]\n{table}")
        connection = Connection(lambda name: open_backend(file, name), "a")
        await connection.prepare(REQUEST)
        await connection.aclose()
    assert connection.server == "an OpenAI-compatible server"


async def test_a_failure_is_told_and_the_next_call_tries_again() -> None:
    opener = Opener()
    connection = Connection(opener, "no-such")
    await connection.prepare(REQUEST)
    assert (connection.state, connection.problem) == ("failed", "no-such: cannot be")
    with pytest.raises(BackendError):
        await connection.backend()
    connection.name = "demo"
    await connection.prepare(REQUEST)
    assert (connection.state, connection.problem) == ("ready", "")


async def test_a_defect_while_opening_is_told_without_its_details() -> None:
    def defect(name: str) -> Backend:
        raise ZeroDivisionError("secret")

    connection = Connection(defect, "demo")
    await connection.prepare(REQUEST)
    assert connection.state == "failed"
    assert "secret" not in connection.problem


async def test_a_backend_that_fails_to_warm_is_ready_all_the_same() -> None:
    class Cold(Scripted):
        async def warm(self, request: ChatRequest) -> None:
            raise ZeroDivisionError

    connection = Connection(lambda name: Cold(), "demo")
    await connection.prepare(REQUEST)
    assert connection.state == "ready"
    await connection.warm(REQUEST)


async def test_exchanging_closes_the_old_one() -> None:
    opener = Opener()
    connection = Connection(opener, "demo")
    await connection.backend()
    await connection.switch("box")
    assert connection.name == "box"
    assert [backend.closed for backend in opener.opened] == [True, False]
    assert await connection.backend() is opener.opened[1]


async def test_what_cannot_be_opened_is_not_exchanged() -> None:
    opener = Opener()
    connection = Connection(opener, "demo")
    await connection.backend()
    with pytest.raises(BackendError):
        await connection.switch("no-such")
    assert connection.name == "demo"
    assert not opener.opened[0].closed


async def test_cancelling_who_waits_does_not_lose_the_backend() -> None:
    opener = Opener()
    connection = Connection(opener, "demo")
    waiting = asyncio.create_task(connection.backend())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await connection.backend()
    assert len(opener.opened) == 1


async def test_a_backend_that_does_not_close_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stuck(Scripted):
        async def aclose(self) -> None:
            await asyncio.Event().wait()

    monkeypatch.setattr("tui.connection.CLOSE_WITHIN", 0.01)
    connection = Connection(lambda name: Stuck(), "demo")
    await connection.backend()
    async with asyncio.timeout(10):
        await connection.aclose()


class Met(Scripted):
    """Answers hints with what it is given, one after another, then with None."""

    def __init__(self, *met: Status | Error | None) -> None:
        super().__init__()
        self.to_meet = list(met)

    async def warm(self, request: ChatRequest) -> Status | Error | None:  # type: ignore[override]
        await super().warm(request)
        return self.to_meet.pop(0) if self.to_meet else None


async def test_a_server_that_cannot_be_reached_is_told_until_it_can() -> None:
    gone = Error(Code.CONNECT, "cannot reach http://box:1: nobody listens there")
    connection = Connection(lambda name: Met(gone, gone), "box")
    await connection.prepare(REQUEST)
    assert (connection.state, connection.problem) == ("unreachable", gone.message)
    await connection.warm(REQUEST)
    assert connection.state == "unreachable"
    await connection.warm(REQUEST)
    assert (connection.state, connection.problem) == ("ready", "")


async def test_an_answer_tells_whether_its_server_was_reached() -> None:
    connection = Connection(lambda name: Met(), "box")
    await connection.prepare(REQUEST)
    timeline = Timeline()
    timeline.add(Error(Code.CONNECT, "cannot reach it"), 1.0)
    connection.answered(timeline)
    assert (connection.state, connection.problem) == ("unreachable", "cannot reach it")
    timeline = Timeline()
    timeline.add(Error(Code.BAD_REQUEST, "no such model"), 1.0)
    connection.answered(timeline)
    assert connection.state == "unreachable"
    timeline = Timeline()
    timeline.add(Token("a"), 1.0)
    connection.answered(timeline)
    assert connection.state == "ready"


async def test_a_model_that_loads_is_watched_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tui.connection, "LOOK_AGAIN", 0.0)
    backend = Met(Status("loading", done=100, total=1000), Status("loading", done=700, total=1000))
    connection = Connection(lambda name: backend, "demo")
    seen: list[tuple[str, int]] = []
    await connection.prepare(
        REQUEST, lambda: seen.append((connection.state, connection.loading.done if connection.loading else 0))
    )
    assert seen == [("warming", 0), ("loading", 100), ("loading", 700)]
    assert connection.state == "ready"
    assert len(backend.warmed) == 3
