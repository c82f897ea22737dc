"""`llmchat backends`: models, and what runs on this machine."""

from __future__ import annotations

import asyncio
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from backends import config, providers
from backends.foreign.dialect import Dialect
from backends.foreign.nearby import Found
from tests.fakes.ollama_server import MODEL, ollama_server
from tui.commands import backends
from tui.target import Target


async def test_models_and_neighbours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with ollama_server() as server, ollama_server() as neighbour:
        path = tmp_path / "config.toml"
        path.write_text(
            f'[backends.ollama]\ntype = "ollama"\nurl = "{server.url}"\n'
            '[backends.books]\ntype = "rag"\ninner = "ollama"\n'
            '[backends.gone]\ntype = "openai"\nurl = "http://127.0.0.1:1"\n'
        )
        ports = tuple(urlsplit(each.url).port or 0 for each in (server, neighbour))
        await asyncio.to_thread(backends.run, Target(config=path), True, ports)
        asked = [request.path for request in server.requests]

    listed, _, added = capsys.readouterr().out.partition("Also running on this machine")
    lines = listed.splitlines()
    for name in ("ollama", "books"):
        at = next(number for number, line in enumerate(lines) if line.startswith(f"  {name}"))
        assert lines[at + 1] == f"    {MODEL}"
    assert "models unknown: cannot reach http://127.0.0.1:1" in listed
    assert set(asked) == {"/api/tags"}, "a configured server is not looked for"
    table = tomllib.loads(added.partition(":\n")[2])
    assert table == {"backends": {"ollama-2": {"type": "ollama", "url": neighbour.url}}}


def test_the_lines_to_add_are_a_configuration() -> None:
    found = [
        Found("http://127.0.0.1:8080", Dialect("openai", "llama-server")),
        Found("http://127.0.0.1:1234", Dialect("openai", "LM Studio")),
        Found("http://127.0.0.1:8000", Dialect("openai", "an OpenAI-compatible server")),
    ]

    file = config.parse("\n".join(backends.suggested(found, ["demo"])))

    assert {name: options.url for name, options in providers.check(file).items() if name != "demo"} == {  # type: ignore[attr-defined]
        "llama-server": "http://127.0.0.1:8080",
        "openai": "http://127.0.0.1:1234",
        "openai-2": "http://127.0.0.1:8000",
    }
    assert backends.suggested([], []) == []
