"""A crowd: half of it reads slowly, a quarter hangs up at random. Nothing is corrupted, and nothing stays."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path

import httpx

from backends.engine import Engine, EngineOptions
from backends.serve.app import Public
from backends.serve.models import Models
from tests.bench.serve.crowd import Crowd, keep_asking, kinds
from tests.engine.conftest import EXACT
from tests.fakes.gguf_model import write_model
from tests.serve.conftest import Start, eventually

CLIENTS = 40


def open_descriptors() -> int:
    """How many this process has; 0 where the system does not tell."""
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0


async def test_nothing_is_left(start: Start, tmp_path: Path) -> None:
    model = write_model(tmp_path / "crowd.gguf", context=512)
    engine = Engine(EngineOptions(**({"model": str(model)} | EXACT | {"max_queue": CLIENTS - 8})))
    await engine.ready()
    service = await start(engine, public=Public(Models("tiny")))
    messages = [{"role": "user", "content": "pause the plan"}]
    crowd = Crowd(httpx.URL(service.url).port or 0, {"model": "tiny", "messages": messages, "max_tokens": 24}, nap=0.01)
    await keep_asking(crowd, 1, 0.0)
    await eventually(lambda: not service.streams)
    gc.collect()
    tasks, descriptors = asyncio.all_tasks(), open_descriptors()

    tally = await keep_asking(crowd, CLIENTS, 0.0)

    assert sum(tally.ends.values()) == len(kinds(CLIENTS))
    assert {end for _, end in tally.ends} <= {"done", "left", "refused 503"}
    assert tally.ends["slow", "done"] > 0
    assert tally.ends["quick", "done"] > 0
    steps = engine._steps
    assert steps is not None
    await eventually(lambda: not service.streams and not steps._running and not steps._queue._waiting)
    await eventually(lambda: asyncio.all_tasks() == tasks)
    await eventually(lambda: open_descriptors() <= descriptors)
    await engine.aclose()
