"""The command as a person starts it, in a home of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Llmchat = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """An environment in which nothing is configured and nothing of this machine's user is seen."""
    folders = {f"XDG_{kind}_HOME": str(tmp_path / kind.lower()) for kind in ("CONFIG", "DATA", "STATE", "CACHE")}
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("LLMCHAT_", "XDG_", "PYTEST"))}
    return kept | folders | {"HOME": str(tmp_path)}


@pytest.fixture
def llmchat(home: dict[str, str], tmp_path: Path) -> Llmchat:
    """Run ``llmchat ARGUMENTS`` to its end; stdin is empty unless given."""

    def run(*arguments: object, stdin: str | None = None, **more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tui", *map(str, arguments)]
        source = {"input": stdin} if stdin is not None else {"stdin": subprocess.DEVNULL}
        return subprocess.run(
            command, **source, capture_output=True, text=True, timeout=60, env=home | more, cwd=tmp_path, check=False
        )

    return run
