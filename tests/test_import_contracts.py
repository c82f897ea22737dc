"""The direction of imports (DESIGN.md, "The cut"), and that what must be there at once stays light."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_the_import_contracts_hold() -> None:
    """In a process of its own: the linter switches off every logger there is."""
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True, no_logo=True))"
    checked = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize(
    "module",
    [
        *("backends.providers.local", "backends.providers.openai", "backends.providers.ollama"),
        *("backends.engine", "backends.rag", "tui.cli", "tui.__main__"),
    ],
)
def test_importing_a_doorway_is_cheap(module: str) -> None:
    """What is heavy is imported when it is used: the prompt must be there at once, `--version` in no time."""
    heavy = {"llama_cpp", "numpy", "httpx", "starlette", "uvicorn", "textual", "markdown_it", "sqlite3"}
    code = f"import sys, {module}; print(*sorted(set(sys.modules) & {heavy!r}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert loaded == []


def test_the_way_to_the_first_frame_is_light() -> None:
    """What `llmchat` imports before its prompt stands there, the modules of all providers that are configured too."""
    late = {
        *("typer", "llama_cpp", "numpy", "httpx", "starlette", "uvicorn", "jinja2", "markdown_it", "pygments.lexers"),
        *("tomllib", "html", "secrets", "tui.screens.help", "tui.screens.sources", "tui.screens.backends"),
    }
    code = f"""
import sys
import tui.__main__, tui.commands.chat, tui.defect_app, tui.history.history, tui.target, textual.drivers.linux_driver
from backends import providers
providers.check(tui.target.Target(url="http://127.0.0.1:9").load())
print(*sorted(set(sys.modules) & {late!r}))
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LLMCHAT_")}
    with tempfile.TemporaryDirectory() as home:  # no configuration to read
        environment |= {"HOME": home, "XDG_CONFIG_HOME": home}
        loaded = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
        )
    assert loaded.stdout.split() == []
