"""`llmchat serve` between a client and a server of somebody else's, as a child process."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.counterparts.process import child, free_port

MODEL = "behind"

_CONFIGURATION = """
backend = "{model}"
[backends.{model}]
type = "openai"
url = "{upstream}"
proxy = "direct"
retries = 0
{more}
"""


@contextmanager
def service(upstream: str, folder: Path, more: str = "") -> Iterator[str]:
    """The URL of a service whose backend is the OpenAI-compatible server `upstream`; `more` lines configure that."""
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    configuration = folder / "llmchat.toml"
    configuration.write_text(_CONFIGURATION.format(model=MODEL, upstream=upstream, more=more))
    url = f"http://127.0.0.1:{port}"
    start = [sys.executable, "-m", "tui", "serve", "--config", str(configuration), "--port", str(port)]
    homes = {name: str(folder) for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME")}
    with child(start, folder / "log", f"{url}/healthz", **homes):
        yield url
