"""The backends that the contract is tested on. A new one is a function here, named in `SUBJECTS`.

A subject answers any question in more than one token. One that `echoes` answers with the question's words. `endless`
is a question whose answer goes on until it is closed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from backends import events
from backends.backend import Backend, ChatRequest, Message, Sampling
from backends.events import Event
from backends.foreign.server import ForeignServer
from backends.providers import Site
from backends.providers import anthropic as anthropic_provider
from backends.providers import auto as auto_provider
from backends.providers import ollama as ollama_provider
from backends.providers import openai as openai_provider
from backends.providers import responses as responses_provider
from backends.providers.native import Native
from backends.providers.replay import Replay
from backends.providers.route import Route
from backends.routing.choose import Candidate
from tests.fakes.anthropic_server import anthropic_server
from tests.fakes.echo import Echo
from tests.fakes.http_server import Server
from tests.fakes.ollama_server import ollama_server
from tests.fakes.openai_server import openai_server
from tests.fakes.responses_server import responses_server

ENDLESS = "forever and ever"


@dataclass(frozen=True)
class Subject:
    """A backend under test. `busy` tells how many streams are being worked on at its far end, where that can be seen.

    `broken` cannot answer, and says so with the code `broken_code`.
    """

    backend: Backend
    broken: Backend
    broken_code: str
    busy: Callable[[], int] | None = None
    echoes: bool = True
    max_tokens: int | None = None
    endless_tokens: int | None = None

    def ask(self, question: str) -> AsyncIterator[Event]:
        """The stream that answers `question`."""
        limit = self.endless_tokens if question == ENDLESS else self.max_tokens
        return self.backend.stream(request(question, limit))


Open = Callable[[Path], AbstractAsyncContextManager[Subject]]


def request(question: str, max_tokens: int | None = None) -> ChatRequest:
    """One greedy request."""
    return ChatRequest((Message("user", question),), max_tokens=max_tokens, sampling=Sampling(temperature=0))


@asynccontextmanager
async def native(folder: Path, *, tcp: bool = False) -> AsyncIterator[Subject]:
    """`Native` on `serve`, over a Unix socket or TCP."""
    from backends.serve.app import create_app
    from backends.serve.server import listening

    echo = Echo()
    async with listening(create_app(echo), uds=None if tcp else str(folder / "serve"), grace=0.1) as address:
        broken = Native("http://127.0.0.1:1") if tcp else Native(uds=str(folder / "nobody"))
        yield Subject(Native(address), broken, "CONNECT", busy=lambda: echo.streaming)


def native_tcp(folder: Path) -> AbstractAsyncContextManager[Subject]:
    """`Native` on `serve` over loopback TCP."""
    return native(folder, tcp=True)


@asynccontextmanager
async def _foreign(
    serving: AbstractAsyncContextManager[Server], backend: Callable[[str], ForeignServer]
) -> AsyncIterator[Subject]:
    """A dialect on a server that speaks its documented wire form."""
    async with serving as server:
        yield Subject(backend(server.url), backend("http://127.0.0.1:1"), "CONNECT", busy=lambda: server.answering)


def openai(folder: Path) -> AbstractAsyncContextManager[Subject]:
    """`OpenAI`."""
    return _foreign(openai_server(), lambda url: openai_provider.OpenAI(openai_provider.Options(url=url)))


def responses(folder: Path) -> AbstractAsyncContextManager[Subject]:
    """`Responses`."""
    return _foreign(responses_server(), lambda url: responses_provider.Responses(responses_provider.Options(url=url)))


def anthropic(folder: Path) -> AbstractAsyncContextManager[Subject]:
    """`Anthropic`."""
    return _foreign(anthropic_server(), lambda url: anthropic_provider.Anthropic(anthropic_provider.Options(url=url)))


def ollama(folder: Path) -> AbstractAsyncContextManager[Subject]:
    """`Ollama`, which streams lines."""
    return _foreign(ollama_server(), lambda url: ollama_provider.Ollama(ollama_provider.Options(url=url)))


@asynccontextmanager
async def auto(folder: Path) -> AsyncIterator[Subject]:
    """`Auto`, on a server that it has to ask."""

    def backend(url: str) -> Backend:
        return auto_provider.connect(auto_provider.Options(url=url), Site("auto", lambda _: Echo()))

    async with ollama_server() as server:
        yield Subject(backend(server.url), backend("http://127.0.0.1:1"), "CONNECT", busy=lambda: server.answering)


@asynccontextmanager
async def route(folder: Path) -> AsyncIterator[Subject]:
    """`Route`, whose first backend is not there."""
    candidates = [Candidate("gone", "", 60_000), Candidate("here", "", 60_000)]

    def backend(*urls: str) -> Backend:
        return Route(candidates, [ollama_provider.Ollama(ollama_provider.Options(url=url)) for url in urls])

    gone = "http://127.0.0.1:1"
    async with ollama_server() as server:
        yield Subject(backend(gone, server.url), backend(gone, gone), "CONNECT", busy=lambda: server.answering)


@asynccontextmanager
async def rag(folder: Path) -> AsyncIterator[Subject]:
    """`Rag` around a backend that echoes, on a folder of documents."""
    from backends.rag.index import Index
    from backends.rag.rag import Rag
    from backends.rag.retrieve import FolderRetriever

    documents = folder / "documents"
    documents.mkdir()
    (documents / "plans.md").write_text("# Plans\n\nYou can pause an annual plan for up to three months.\n")
    echo = Echo()
    backend = Rag(echo, FolderRetriever(Index([documents], folder / "index.sqlite")))
    broken = Rag(Native(uds=str(folder / "nobody")), None)
    yield Subject(backend, broken, "CONNECT", busy=lambda: echo.streaming)


@asynccontextmanager
async def replay(folder: Path) -> AsyncIterator[Subject]:
    """`Replay` on recordings of a backend that echoes."""
    recordings = folder / "recordings"
    recordings.mkdir()
    questions = (ENDLESS, "once more", *(f"question number {n}" for n in range(5)), "one two three")
    for number, question in enumerate(questions):
        lines = [{"request": request(question)}, *_recorded(question)]
        (recordings / f"{number}.jsonl").write_bytes(b"\n".join(map(msgspec.json.encode, lines)))
    yield Subject(Replay(recordings), Replay(folder / "missing.jsonl"), "NOT_FOUND")


def _recorded(question: str) -> list[dict[str, object]]:
    words = question.split()
    told: list[tuple[float, Event]] = [(0.0, events.Status("prefilling")), (0.5, events.Meta("echo", 0.5))]
    gap = 3_600_000.0 if question == ENDLESS else 1.0
    for number, word in enumerate(words):
        told.append((1.0 + number * gap, events.Token(f" {word}" if number else word)))
    told.append((told[-1][0] + 1.0, events.Done(len(words), 2.0)))
    return [{"ms": ms, "event": events.name(e), "data": msgspec.Raw(events.encode(e))} for ms, e in told]


@asynccontextmanager
async def engine(folder: Path) -> AsyncIterator[Subject]:
    """`Engine` on a real llama.cpp and a tiny random model."""
    from backends.engine import Engine, EngineOptions
    from tests.fakes.gguf_model import write_model

    model = folder.parent / "engine.gguf"  # shared by the tests of one session
    if not model.exists():
        write_model(model, layers=6, width=256, heads=8, kv_heads=4, context=4096)
    backend = Engine(EngineOptions(model=str(model), kv_type="f32", flash_attention="off"))
    broken = Engine(EngineOptions(model=str(folder / "missing.gguf")))
    info = await backend.ready()
    yield Subject(
        backend,
        broken,
        "MODEL_LOAD",
        busy=lambda: len(backend._steps._running) if backend._steps else 0,
        echoes=False,
        max_tokens=12,
        endless_tokens=info.n_ctx - 256,
    )
    await broken.aclose()


@asynccontextmanager
async def local(folder: Path) -> AsyncIterator[Subject]:
    """`Local` and its child process: `serve` around `Engine`, on a real llama.cpp and a tiny random model."""
    from backends.engine.options import EngineOptions
    from backends.local.launcher import Settings
    from backends.local.spec import Spec
    from backends.providers.local import Local
    from tests.fakes.gguf_model import write_model

    model = folder.parent / "local.gguf"  # shared by the tests of one session
    if not model.exists():
        write_model(model, layers=6, width=256, heads=8, kv_heads=4, context=4096)
    with TemporaryDirectory(prefix="llmchat-") as runtime:  # a short path, as a socket's must be
        settings = Settings(folder=Path(runtime), logs=folder / "logs", grace=0.1)
        backend = Local(Spec(EngineOptions(model=str(model), kv_type="f32", flash_attention="off")), settings)
        broken = Local(Spec(EngineOptions(model=str(folder / "missing.gguf"))), settings)
        yield Subject(backend, broken, "MODEL_LOAD", echoes=False, max_tokens=12, endless_tokens=3_800)
        await backend.aclose()
        await asyncio.to_thread(_wait_until_empty, Path(runtime))


def _wait_until_empty(folder: Path) -> None:
    """Children leave nothing behind; that they are gone is seen here."""
    deadline = time.monotonic() + 20
    while list(folder.iterdir()):
        assert time.monotonic() < deadline, f"left behind: {list(folder.iterdir())}"
        time.sleep(0.02)


SUBJECTS: dict[str, Open] = {
    "native": native,
    "native-tcp": native_tcp,
    "openai": openai,
    "responses": responses,
    "anthropic": anthropic,
    "ollama": ollama,
    "auto": auto,
    "route": route,
    "rag": rag,
    "replay": replay,
    "engine": engine,
    "local": local,
}
