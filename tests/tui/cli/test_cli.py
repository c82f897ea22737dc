"""What the command says without a backend: versions, help, usage errors, imports."""

from __future__ import annotations

import json
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from tui.cli import app
from tui.exit_codes import TABLE, ExitCode


def assert_one_clear_line(result: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """`result` failed with `code`, one line on stderr that says `words`, and nothing on stdout."""
    assert result.returncode == code, result
    assert result.stdout == ""
    assert result.stderr.startswith("llmchat: ")
    assert result.stderr.count("\n") == 1
    for word in words:
        assert word in result.stderr


def test_version(llmchat) -> None:
    result = llmchat("--version")
    assert (result.returncode, result.stderr) == (0, "")
    assert re.fullmatch(r"llmchat \d+\.\d+\S*\n", result.stdout)


@pytest.mark.parametrize("command", [[], ["ask"], ["serve"], ["backends"]])
def test_help(llmchat, command: list[str]) -> None:
    result = llmchat(*command, "--help")
    assert (result.returncode, result.stderr) == (0, "")
    assert "Usage: " in result.stdout


def test_every_exit_code_is_documented(llmchat) -> None:
    help_text = llmchat("ask", "--help").stdout
    documented = {int(number) for number in re.findall(r"^ +(\d+) ", help_text, re.MULTILINE)}
    assert documented == set(ExitCode)
    assert all(line.strip() in help_text for line in TABLE.splitlines())


@pytest.mark.parametrize(
    "arguments",
    [["--no-such-option"], ["nonsense"], ["ask", "--max-tokens", "0", "q"], ["serve", "--port", "99999"]],
)
def test_wrong_usage(llmchat, arguments: list[str]) -> None:
    result = llmchat(*arguments)
    assert result.returncode == ExitCode.USAGE
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


def test_options_before_a_command_are_not_ignored(llmchat) -> None:
    result = llmchat("--url", "http://127.0.0.1:9", "ask", "q")
    assert result.returncode == ExitCode.USAGE
    assert "llmchat ask --" in result.stderr


def test_the_chat_needs_a_terminal(llmchat) -> None:
    assert_one_clear_line(llmchat(), ExitCode.USAGE, "terminal", "llmchat ask")


def test_a_typo_in_the_configuration(llmchat, tmp_path: Path) -> None:
    path = tmp_path / "typo.toml"
    path.write_text('backend = "demo"\n\n[ui]\ntheem = "dark"\n')
    for command in (["ask", "q"], ["backends"], ["serve"]):
        assert_one_clear_line(
            llmchat(*command, "--config", path), ExitCode.USAGE, f"{path}, line 4", "did you mean 'theme'?"
        )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--config", "absent.toml"], ["absent.toml", "no such file", "--config"]),
        (["--backend", "dem"], ["no backend 'dem'", "did you mean 'demo'?"]),
        (["--model", "absent.gguf"], ["absent.gguf", "no such file", "--model"]),
        (["--docs", "absent"], ["absent", "no such file or folder", "--docs"]),
        (["--url", "http://x", "--backend", "demo"], ["--url", "--backend"]),
        (["--api-key-env", "KEY"], ["--api-key-env", "--url"]),
    ],
)
def test_a_target_that_cannot_be(llmchat, arguments: list[str], words: list[str]) -> None:
    assert_one_clear_line(llmchat("ask", "q", *arguments), ExitCode.USAGE, *words)


def test_no_question(llmchat) -> None:
    assert_one_clear_line(llmchat("ask"), ExitCode.USAGE, "no question")
    assert_one_clear_line(llmchat("ask", stdin=" \n"), ExitCode.USAGE, "no question")
    assert_one_clear_line(llmchat("ask", "-", stdin=""), ExitCode.USAGE, "no question")


def test_json_ends_with_the_error_of_a_wrong_configuration(llmchat) -> None:
    result = llmchat("ask", "--json", "--backend", "dem", "q")
    assert result.returncode == ExitCode.USAGE
    (line,) = result.stdout.splitlines()
    event = json.loads(line)
    assert (event["event"], event["code"]) == ("error", "CONFIG")
    assert "did you mean 'demo'?" in event["message"]


def test_a_defect_is_one_line_and_its_traceback_is_in_a_private_log(home: dict[str, str], tmp_path: Path) -> None:
    program = """
import tui.target
def broken(self):
    raise RuntimeError("something is\\nwrong")
tui.target.Target.load = broken
import sys
sys.argv = ["llmchat", "backends"]
from tui.__main__ import main
main()
"""
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, env=home, cwd=tmp_path, check=False)
    assert_one_clear_line(result, ExitCode.DEFECT, "RuntimeError: something is wrong", "llmchat.log")
    log = Path(result.stderr.rpartition(" ")[2].strip())
    assert log.is_relative_to(tmp_path)
    assert "RuntimeError: something is" in log.read_text()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


HEAVY = {
    *("textual", "rich", "httpx", "httpx_sse", "msgspec"),
    *("llama_cpp", "numpy", "starlette", "uvicorn", "asyncio"),
}


@pytest.mark.parametrize(
    ("arguments", "unwanted"),
    [
        (["--version"], HEAVY),
        (["ask", "--help"], HEAVY),
        (["ask"], HEAVY - {"msgspec", "asyncio"}),
        ([], HEAVY - {"msgspec", "asyncio"} | {"typer", "pydantic"}),  # refuses: no terminal
    ],
)
def test_nothing_heavy_is_imported_before_it_is_needed(
    home: dict[str, str], arguments: list[str], unwanted: set[str]
) -> None:
    program = """
import sys
sys.argv = ["llmchat", *sys.argv[1:]]
from tui.__main__ import main
try:
    main()
except SystemExit:
    print("\\n", *sys.modules)
"""
    command = [sys.executable, "-c", program, *arguments]
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=60, env=home, check=False, stdin=subprocess.DEVNULL
    )
    modules = set(result.stdout.splitlines()[-1].split())
    assert "tui.exit_codes" in modules
    assert modules.isdisjoint(unwanted)


def test_the_commands_are_these() -> None:
    names = "ask serve index backends doctor stats explain keys export conversations bench"
    assert list(typer.main.get_group(app).commands) == names.split()


def test_backends_are_listed_with_what_keeps_them_from_working(llmchat, tmp_path: Path) -> None:
    result = llmchat("backends")
    assert (result.returncode, result.stderr) == (0, "")
    assert "Configuration: none" in result.stdout
    assert re.search(r"^\* demo +local +ready$", result.stdout, re.MULTILINE)

    path = tmp_path / "two.toml"
    path.write_text(
        'backend = "here"\n[backends.here]\ntype = "native"\nurl = "http://localhost:1"\n'
        '[backends.gone]\ntype = "local"\nmodel = "gone.gguf"\n'
        '[backends.paid]\ntype = "openai"\nurl = "http://localhost:1"\napi_key_env = "NO_SUCH_KEY"\n'
    )
    result = llmchat("backends", "--config", path)
    assert result.returncode == 0
    assert str(path) in result.stdout
    assert re.search(r"^\* here +native +configured$", result.stdout, re.MULTILINE)
    assert re.search(r"^  gone +local +there is no model: .*gone.gguf$", result.stdout, re.MULTILINE)
    assert re.search(r"^  paid +openai +.*NO_SUCH_KEY", result.stdout, re.MULTILINE)
