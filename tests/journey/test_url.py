"""`--url`, `--docs` and `--record`: somebody else's server without any configuration."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.fakes.openai_server import openai_server
from tests.journey.conftest import COMMAND
from tui.exit_codes import ExitCode

PATIENCE = 60


@pytest.fixture
def ask(home: dict[str, str], tmp_path: Path):
    """``await ask("q", "--url", url)``: exit code, stdout and stderr of `llmchat ask`."""

    async def run(*arguments: object) -> tuple[int | None, str, str]:
        process = await asyncio.create_subprocess_exec(
            *COMMAND,
            "ask",
            *map(str, arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=home | {"SOME_KEY": "sesame"},
            cwd=tmp_path,
        )
        try:
            async with asyncio.timeout(PATIENCE):
                out, err = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return process.returncode, out.decode(), err.decode()

    return run


async def test_a_server_without_configuration(ask) -> None:
    async with openai_server() as server:
        result = await ask("say it back", "--url", server.url, "--model", "m", "--api-key-env", "SOME_KEY")
        *questions, request = server.requests
    assert result == (ExitCode.COMPLETE, "say it back\n", "")
    assert request.headers["authorization"] == "Bearer sesame"
    assert json.loads(request.body)["model"] == "m"
    assert questions, "it was asked what it speaks"
    assert not any("authorization" in question.headers or question.body for question in questions)


async def test_a_key_that_is_not_set(ask) -> None:
    code, out, err = await ask("q", "--url", "http://127.0.0.1:9", "--api-key-env", "NO_SUCH_KEY")
    assert (code, out) == (ExitCode.USAGE, "")
    assert "NO_SUCH_KEY" in err
    assert err.count("\n") == 1


async def test_documents_around_a_server(ask, tmp_path: Path) -> None:
    documents = tmp_path / "notes"
    documents.mkdir()
    (documents / "garden.md").write_text("# Garden\n\nThe tulips are watered on Tuesday mornings.\n")
    async with openai_server() as server:
        code, out, _ = await ask("When are the tulips watered?", "--json", "--url", server.url, "--docs", "notes")
        sent = json.loads(server.requests[-1].body)["messages"][-1]["content"]
    assert code == ExitCode.COMPLETE
    assert "watered on Tuesday mornings" in sent
    events = [json.loads(line) for line in out.splitlines()]
    passages = [event["passages"] for event in events if event.get("passages")]
    assert passages[0][0]["source"] == "garden.md"


async def test_what_was_recorded_can_be_replayed(ask, tmp_path: Path) -> None:
    async with openai_server() as server:
        first = await ask("once and again", "--url", server.url, "--record", "tapes")
    config = tmp_path / "replay.toml"
    config.write_text('backend = "tape"\n[backends.tape]\ntype = "replay"\npath = "tapes"\n')
    assert await ask("anything", "--config", config) == first == (ExitCode.COMPLETE, "once and again\n", "")
