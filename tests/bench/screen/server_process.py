"""The fake server as a child process, and what it says as it happens."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from types import TracebackType
from typing import Any

Event = dict[str, Any]


class ServerProcess:
    """A server for answers of `tokens` tokens at `rate` a second; a context manager."""

    def __init__(self, tokens: int, rate: float) -> None:
        command = [sys.executable, "-m", "tests.bench.screen.fake_server", "--tokens", str(tokens), "--rate", str(rate)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._news = threading.Condition()
        self.events: list[Event] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join(10)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()

    @property
    def url(self) -> str:
        """Where it listens, as an OpenAI client wants it."""
        listening = self.wait_for("listening", 30)
        if listening is None:
            raise RuntimeError("the fake server did not start")
        return f"http://127.0.0.1:{listening['port']}/v1"

    def wait_for(self, event: str, patience: float, after: int = 0, **fields: object) -> Event | None:
        """The first `event` with these fields behind the first `after` events; None if it is not there in time."""
        until = time.monotonic() + patience
        wanted = {"event": event, **fields}
        with self._news:
            while True:
                for happened in self.events[after:]:
                    if happened.items() >= wanted.items():
                        return happened
                left = until - time.monotonic()
                if left <= 0:
                    return None
                self._news.wait(left)

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            with self._news:
                self.events.append(json.loads(line))
                self._news.notify_all()
