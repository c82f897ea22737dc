"""Real children with a real llama.cpp on tiny random models, in a private folder that must be empty at the end."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from backends.engine.options import EngineOptions
from backends.local.launcher import Settings
from backends.local.spec import Spec
from backends.providers.local import Local
from tests.fakes.gguf_model import write_model

PATIENCE = 30.0
"""Seconds after which something that must happen soon counts as not happening, on a loaded machine."""


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that never ends on its own, with a context of 16,384 tokens: an answer can be made to last."""
    return write_model(tmp_path_factory.mktemp("models") / "tiny.gguf", context=16_384)


@pytest.fixture
def spec(model: Path) -> Spec:
    """That model, without documents."""
    return Spec(EngineOptions(model=str(model), n_threads=1))


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    """A runtime folder with a short path and a log folder of this test; every child must have left the first."""
    folder = Path(tempfile.mkdtemp(prefix="llmchat-"))
    yield Settings(folder=folder, logs=tmp_path / "logs", grace=0.3)
    try:
        wait_until(lambda: not list(folder.iterdir()), f"{folder} to be empty")
    finally:
        shutil.rmtree(folder)


@pytest.fixture
async def open_local(spec: Spec, settings: Settings) -> AsyncIterator[Callable[..., Local]]:
    """Makes a `Local`, for `spec` and `settings` unless told otherwise; all are closed at the end."""
    async with AsyncExitStack() as stack:

        def open_one(other: Spec | None = None, how: Settings | None = None) -> Local:
            local = Local(other or spec, how or settings)
            stack.push_async_callback(local.aclose)
            return local

        yield open_one


def wait_until(true: Callable[[], bool], what: str) -> None:
    """Look until `true()`; fails after `PATIENCE`."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, f"waited {PATIENCE:g} s for {what}"
        time.sleep(0.02)


def is_there(pid: int) -> bool:
    """True until the process has ended and was reaped."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def is_running(pid: int) -> bool:
    """True unless the process is gone, or a zombie that waits for its parent (seen where there is a /proc)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return is_there(pid)
