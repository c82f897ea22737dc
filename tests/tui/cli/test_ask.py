"""`llmchat ask` around a backend that misbehaves as no real one should."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tui.exit_codes import ExitCode

PROGRAM = """
import asyncio, logging, sys
from backends import providers
from backends.events import Done, Token

class Misbehaving:
    async def stream(self, request):
        try:
            yield Token("partly")
            if request.messages[-1].content == "fail":
                raise RuntimeError("nobody expected this")
            if request.messages[-1].content == "warn":
                logging.getLogger("somewhere").warning("for the log")
                yield Done(1, 1.0)
            await asyncio.Event().wait()
        finally:
            if request.messages[-1].content == "cling":
                print(" closing", end="", flush=True)
                await asyncio.Event().wait()
    async def aclose(self):
        pass

providers.open_backend = lambda file: Misbehaving()
sys.argv = ["llmchat", *sys.argv[1:]]
from tui.__main__ import main
main()
"""


def start(home: dict[str, str], folder: Path, *arguments: str) -> subprocess.Popen[str]:
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    command = [sys.executable, "-c", PROGRAM, "ask", *arguments]
    return subprocess.Popen(command, env=home, cwd=folder, text=True, **pipes)


def test_a_defect_keeps_the_text_and_is_one_line(home: dict[str, str], tmp_path: Path) -> None:
    out, err = (process := start(home, tmp_path, "fail")).communicate(timeout=60)
    assert (process.returncode, out) == (ExitCode.DEFECT, "partly\n")
    assert err.startswith("llmchat: RuntimeError: nobody expected this; ")
    assert err.count("\n") == 1


def test_what_libraries_log_is_not_printed(home: dict[str, str], tmp_path: Path) -> None:
    out, err = (process := start(home, tmp_path, "warn")).communicate(timeout=60)
    assert (process.returncode, out, err) == (ExitCode.COMPLETE, "partly\n", "")
    (log,) = tmp_path.rglob("llmchat.log")
    assert "WARNING somewhere: for the log" in log.read_text()


def test_json_ends_with_an_error_after_a_defect(home: dict[str, str], tmp_path: Path) -> None:
    out, _ = (process := start(home, tmp_path, "--json", "fail")).communicate(timeout=60)
    assert process.returncode == ExitCode.DEFECT
    last = json.loads(out.splitlines()[-1])
    assert (last["event"], last["code"]) == ("error", "INTERNAL")


def test_a_second_ctrl_c_does_not_wait_for_a_backend_that_clings(home: dict[str, str], tmp_path: Path) -> None:
    with start(home, tmp_path, "cling") as process:
        assert process.stdout is not None
        assert process.stdout.read(len("partly")) == "partly"
        process.send_signal(signal.SIGINT)
        assert process.stdout.read(len(" closing")) == " closing"
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == ExitCode.CANCELLED


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux only")
def test_a_full_disk(home: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, "ask", "warn"]
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=full, stderr=subprocess.PIPE, env=home, timeout=60, check=False
        )
    assert result.returncode == ExitCode.FAILED
    assert result.stderr == b"llmchat: the output cannot be written: No space left on device\n"


def test_closed_stdin(home: dict[str, str], tmp_path: Path) -> None:
    for question, code in (("warn", ExitCode.COMPLETE), ("-", ExitCode.USAGE)):
        shell = ["sh", "-c", 'exec "$@" <&-', "sh", sys.executable, "-c", PROGRAM, "ask", question]
        result = subprocess.run(shell, capture_output=True, env=home, cwd=tmp_path, timeout=60, check=False)
        assert result.returncode == code, result


@pytest.mark.parametrize("arguments", [("",), ("--grammar", "no-such-file", "q")], ids=["no question", "no grammar"])
def test_json_ends_with_an_error_after_wrong_usage(
    home: dict[str, str], tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    out, err = (process := start(home, tmp_path, "--json", *arguments)).communicate(timeout=60)
    assert process.returncode == ExitCode.USAGE
    (last,) = map(json.loads, out.splitlines())
    assert (last["event"], last["code"]) == ("error", "CONFIG")
    assert last["message"] in err
