"""The direction of imports (DESIGN.md, "The cut"), and that what must be there at once stays light."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_the_import_contracts_hold() -> None:
    """In a process of its own: the linter switches off every logger there is."""
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True, no_logo=True))"
    checked = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize(
    "module", ["backends.providers.local", "backends.providers.openai", "backends.engine", "backends.rag", "tui.cli"]
)
def test_importing_a_doorway_is_cheap(module: str) -> None:
    """What is heavy is imported when it is used: the prompt must be there at once, `--version` in no time."""
    heavy = {"llama_cpp", "numpy", "httpx", "starlette", "uvicorn", "textual", "markdown_it", "sqlite3"}
    code = f"import sys, {module}; print(*sorted(set(sys.modules) & {heavy!r}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert loaded == []
