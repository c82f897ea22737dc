"""Whatever becomes of its output, a command ends with one line and an exit code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tui.exit_codes import ExitCode

PRINTS = "print('P50 – 3 ms'); from tui.exit_codes import ExitCode; return ExitCode.COMPLETE"
DRAWS = "from rich.console import Console; Console().print('x\\n' * 10_000); return 0"


def run(body: str, redirection: str, home: dict[str, str], **more: str) -> subprocess.CompletedProcess[bytes]:
    """A command whose function is `body`, with its output redirected by the shell."""
    lines = "\n".join(f"    {line}" for line in body.split("; "))
    program = f"from tui.leaving import leave\ndef command():\n{lines}\nleave(command)"
    shell = ["sh", "-c", f'"$@" {redirection}', "sh", sys.executable, "-c", program]
    return subprocess.run(shell, capture_output=True, env=home | more, timeout=60, check=False)


def test_a_locale_without_the_letters(home: dict[str, str]) -> None:
    result = run(PRINTS, "", home, PYTHONIOENCODING="ascii")
    assert (result.returncode, result.stdout, result.stderr) == (ExitCode.COMPLETE, b"P50 ? 3 ms\n", b"")


@pytest.mark.parametrize("redirection", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_streams(home: dict[str, str], redirection: str) -> None:
    assert run(PRINTS, redirection, home).returncode == ExitCode.COMPLETE


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux only")
@pytest.mark.parametrize("body", [PRINTS, DRAWS], ids=["print", "rich"])
def test_a_full_disk(home: dict[str, str], body: str) -> None:
    result = run(body, "> /dev/full", home)
    assert result.returncode == ExitCode.FAILED
    assert result.stderr == b"llmchat: the output cannot be written: No space left on device\n"


@pytest.mark.parametrize("body", [PRINTS, DRAWS], ids=["print", "rich"])
def test_a_reader_that_has_gone(home: dict[str, str], body: str) -> None:
    unread = "import os; read, write = os.pipe(); os.close(read); os.dup2(write, 1); "
    result = run(unread + body, "", home)
    assert (result.returncode, result.stderr) == (ExitCode.BROKEN_PIPE, b"")
