"""A real `llmchat serve` in a thread, whose backend plays a script that the test controls."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from backends.serve import serve
from tests.fakes.scripted import Hold, Scripted

PATIENCE = 60.0


class ScriptedServer:
    """`backend` on HTTP at `address`; see `serving`."""

    def __init__(self, backend: Scripted, loop: asyncio.AbstractEventLoop, address: str) -> None:
        self.backend = backend
        self.address = address
        self._loop = loop

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition`, on what the server's thread counts, holds."""
        until = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < until, "the server never came to that"
            time.sleep(0.01)

    def release(self, hold: Hold) -> None:
        """Let the script go on behind `hold`."""
        self._loop.call_soon_threadsafe(hold.release)

    def configuration(self, folder: Path) -> Path:
        """A configuration file in `folder` whose one backend, ``there``, is this server."""
        path = folder / "scripted.toml"
        path.write_text(f'backend = "there"\n\n[backends.there]\ntype = "native"\nurl = "{self.address}"\n')
        return path


@contextmanager
def serving(backend: Scripted) -> Iterator[ScriptedServer]:
    """`backend` served on a free loopback port for the length of the ``with``."""
    started = threading.Event()
    where: list[str] = []
    loop = asyncio.new_event_loop()

    def on_started(address: str) -> None:
        where.append(address)
        started.set()

    def run() -> None:
        try:
            loop.run_until_complete(task)
        except asyncio.CancelledError:
            pass
        finally:
            loop.close()
            started.set()

    task = loop.create_task(serve(backend, on_started=on_started, grace=0.1))
    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert started.wait(PATIENCE)
        yield ScriptedServer(backend, loop, where[0])
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(PATIENCE)
