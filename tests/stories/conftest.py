"""What the five failure stories share: a real engine that counts what it computes."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from backends.engine import Engine, EngineOptions
from backends.engine.runner import Job, Runner
from tests.fakes.gguf_model import write_model

StartEngine = Callable[..., Awaitable[Engine]]


class Work:
    """What llama.cpp was given to compute since the last `forget`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.forget()

    def forget(self) -> None:
        """Count from here."""
        with self._lock:
            self.steps = 0
            self.tokens = 0

    def add(self, jobs: Sequence[Job]) -> None:
        """One more step."""
        with self._lock:
            self.steps += 1
            self.tokens += sum(len(job.tokens) for job in jobs)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    work, decode = Work(), Runner.decode

    def counted(self: Runner, jobs: Sequence[Job]) -> int:
        work.add(jobs)
        return decode(self, jobs)

    monkeypatch.setattr(Runner, "decode", counted)
    return work


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a context of 4,096 tokens whose answers only end at their limit."""
    return write_model(tmp_path_factory.mktemp("stories") / "tiny.gguf", context=4096)


@pytest.fixture
async def start(tiny: Path) -> AsyncIterator[StartEngine]:
    """`await start(**options)`: a ready engine, closed at the end of the test."""
    async with AsyncExitStack() as stack:

        async def start_engine(**options: Any) -> Engine:
            engine = Engine(EngineOptions(**({"model": str(tiny), "n_threads": 1, "draft": "off"} | options)))
            stack.push_async_callback(engine.aclose)
            await engine.ready()
            return engine

        yield start_engine
