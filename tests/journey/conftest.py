"""What every journey needs: a home, a way to start llmchat in a terminal or without one, and models."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.fakes.gguf_model import write_model
from tests.journey.home import environment
from tests.journey.terminal import Terminal

COMMAND = (str(Path(sys.executable).with_name("llmchat")),)  # the console script, as pip installed it


@pytest.fixture
def home(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of somebody who has configured nothing."""
    with environment(tmp_path) as variables:
        yield variables


@pytest.fixture
def open_terminal(home: dict[str, str], tmp_path: Path) -> Callable[..., Terminal]:
    """``open_terminal("--model", path, columns=80)``: llmchat on a terminal; use it with ``with``."""

    def start(*arguments: object, columns: int = 120, rows: int = 40) -> Terminal:
        return Terminal([*COMMAND, *map(str, arguments)], env=home, cwd=tmp_path, columns=columns, rows=rows)

    return start


@pytest.fixture
def start(home: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """``start("ask", "q")``: llmchat with pipes instead of a terminal; killed at the end if it still runs."""
    with ExitStack() as started:

        def run(*arguments: object, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
            pipes = {"stdin": stdin, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
            process = subprocess.Popen([*COMMAND, *map(str, arguments)], env=home, cwd=tmp_path, **pipes)
            started.enter_context(process)  # closes the pipes and waits
            started.callback(process.kill)
            return process

        yield run


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GGUF with random weights that never stops by itself."""
    return write_model(tmp_path_factory.mktemp("model") / "tiny.gguf", context=4096)
