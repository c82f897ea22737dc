"""One run's surroundings: a fake server, a fresh home, and the client on a terminal."""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.screen.clients import ROOT, Client
from tests.bench.screen.recorded_terminal import RecordedTerminal
from tests.bench.screen.server_process import Event, ServerProcess

START_PATIENCE = 60.0
QUESTION = "Explain token streaming please"


class NotReady(Exception):
    """A client that did not do what it must before it can be measured; with its screen."""


class Stage:
    """A started client with its server."""

    def __init__(self, client: Client, server: ServerProcess, terminal: RecordedTerminal) -> None:
        self.client, self.server, self.terminal = client, server, terminal

    def wait_until_ready(self) -> float:
        """Wait for the prompt; seconds from the start of the process to it."""
        at = self.terminal.wait_for(self.client.ready, START_PATIENCE)
        if at is None:
            raise NotReady(f"{self.client.name}: no prompt\n{self.terminal.text}")
        return at - self.terminal.started

    def warm_up(self) -> None:
        """A first short turn, so that imports and connections that wait for one are not part of what is measured."""
        self.ask("warmup", "warmup")
        if self.terminal.wait_for("Warm answer", 30) is None:
            raise NotReady(f"{self.client.name}: no answer to the first question\n{self.terminal.text}")
        self.terminal.wait_until_quiet(0.6, 5)

    def ask(self, question: str, kind: str = "main") -> tuple[float, Event]:
        """Type `question` and press Enter; when Enter was pressed, and the request at the server."""
        self.type(question)
        return self.send(kind)

    def type(self, question: str) -> None:
        """Type `question` into the prompt."""
        self.terminal.wait_until_quiet(0.3, 5)
        for character in question:
            self.terminal.type(character)
            time.sleep(0.01)
        self.terminal.wait_for(re.escape(question[-8:]), 5)
        self.terminal.wait_until_quiet(0.4, 5)

    def send(self, kind: str = "main") -> tuple[float, Event]:
        """Press Enter; when, and the request at the server."""
        already = len(self.server.events)
        entered = self.terminal.press("enter")
        request = self.server.wait_for("request", 30, already, kind=kind)
        if request is None:
            raise NotReady(f"{self.client.name}: no request came to the server\n{self.terminal.text}")
        return entered, request


@contextmanager
def staged(client: Client, tokens: int, rate: float, home: Path | None = None) -> Iterator[Stage]:
    """`client` started against a server for answers of `tokens` tokens at `rate`; `home`: kept from run to run."""
    with tempfile.TemporaryDirectory(prefix="bench-screen-", ignore_cleanup_errors=True) as folder:
        home = home or Path(folder)
        with ServerProcess(tokens, rate) as server:
            known = {"{home}": str(home), "{url}": server.url}
            for name, text in client.files.items():
                path = home / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(_filled(text, known), "utf-8")
            command = [_filled(part, known) for part in client.command]
            extra = {name: _filled(value, known) for name, value in client.environment.items()}
            with RecordedTerminal(command, surroundings(home) | extra, home, kitty=client.kitty) as terminal:
                yield Stage(client, server, terminal)


def _filled(text: str, known: dict[str, str]) -> str:
    for name, value in known.items():
        text = text.replace(name, value)
    return text


def surroundings(home: Path) -> dict[str, str]:
    """The environment of a person at `home`: nothing of the machine's own configuration."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "HOME": str(home),
        "TERM": "xterm-256color",
        "COLORTERM": "truecolor",
        "LANG": "C.UTF-8",
        "NO_PROXY": "127.0.0.1",
    } | {f"XDG_{kind}_HOME": str(home / kind.lower()) for kind in ("CONFIG", "DATA", "CACHE", "STATE")}
