"""A real llama.cpp on tiny random models, with the cell account checked after every step of every test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from backends.engine import Engine, EngineOptions
from backends.engine.loop import StepLoop
from backends.engine.runner import Runner
from tests.fakes.gguf_model import write_model

EXACT = {"kv_type": "f32", "flash_attention": "off", "n_threads": 1}
"""What makes greedy token ids the same however requests are batched (the models' weights are f32). One thread: on a
busy machine several would mostly wait for each other."""

StartEngine = Callable[..., Awaitable[Engine]]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of 3 layers with a context of 512 tokens; a step takes a fraction of a millisecond."""
    return write_model(tmp_path_factory.mktemp("models") / "tiny.gguf")


@pytest.fixture(scope="session")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of 12 wider layers with a context of 4,096 tokens: prefilling 3,000 takes a good part of a second."""
    return write_model(
        tmp_path_factory.mktemp("models") / "slow.gguf", layers=12, width=256, heads=8, kv_heads=4, context=4096
    )


@pytest.fixture(scope="module")
def runner(tiny: Path) -> Iterator[Runner]:
    """A loaded runner on `tiny`, for what needs no engine."""
    runner = Runner(EngineOptions(model=str(tiny), **EXACT), lambda part: True)
    yield runner
    runner.close()


class CheckedLoop(StepLoop):
    """The step loop with its account compared with llama.cpp's memory after every step."""

    def _step(self) -> None:
        super()._step()
        self.check()


@asynccontextmanager
async def starting(model: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[StartEngine]:
    """`await start(**options)`: a ready engine on `model`, closed at the end, its cells checked after every step."""
    monkeypatch.setattr("backends.engine.loop.StepLoop", CheckedLoop)
    async with AsyncExitStack() as stack:

        async def start(**options: Any) -> Engine:
            engine = Engine(EngineOptions(**({"model": str(model)} | EXACT | options)))
            stack.push_async_callback(engine.aclose)
            await engine.ready()
            return engine

        yield start


@pytest.fixture
async def start(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[StartEngine]:
    """See `starting`; on `tiny`."""
    async with starting(tiny, monkeypatch) as start:
        yield start
