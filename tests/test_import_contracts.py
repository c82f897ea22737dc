"""The direction of imports (DESIGN.md, "The cut"), and that what must be there at once stays light."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

ROOT = Path(__file__).parent.parent


def test_the_import_contracts_hold(capsys: pytest.CaptureFixture[str]) -> None:
    status = lint_imports(str(ROOT / "pyproject.toml"), no_cache=True, no_logo=True)
    assert status == 0, capsys.readouterr().out


@pytest.mark.parametrize(
    "module", ["backends.providers.local", "backends.providers.openai", "backends.engine", "backends.rag", "tui.cli"]
)
def test_importing_a_doorway_is_cheap(module: str) -> None:
    """What is heavy is imported when it is used: the prompt must be there at once, `--version` in no time."""
    heavy = {"llama_cpp", "numpy", "httpx", "starlette", "uvicorn", "textual", "markdown_it", "sqlite3"}
    code = f"import sys, {module}; print(*sorted(set(sys.modules) & {heavy!r}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert loaded == []
