"""`llmchat backends`: what is configured, and whether it can be used."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from backends import config, providers
from backends.config import ConfigFile
from backends.engine.library import load_library
from backends.errors import BackendError
from backends.providers.local import Local
from tui.exit_codes import ExitCode
from tui.target import Target


def run(target: Target) -> ExitCode:
    """Print one line for each configured backend. Raises ConfigError."""
    file = target.load()
    providers.check(file)
    print(f"Configuration: {file.path or f'none; it would be {config.default_path()}'}")
    asyncio.run(_list(file))
    return ExitCode.COMPLETE


async def _list(file: ConfigFile) -> None:
    tables = file.config.backends
    width = max(map(len, tables))
    for name, table in sorted(tables.items()):
        mark = "*" if name == file.config.backend else " "
        print(f"{mark} {name:{width}}  {table['type']:8}  {await _state(file, name)}")


async def _state(file: ConfigFile, name: str) -> str:
    """Whether the backend can be used, as far as that is known without asking a server or loading a model."""
    try:
        backend = providers.open_backend(file, name)
        async with contextlib.aclosing(backend):
            if isinstance(backend, Local):
                return _state_of_engine(Path(backend.spec.engine.model))
    except BackendError as error:
        return error.message
    return "configured"


def _state_of_engine(model: Path) -> str:
    load_library()
    return "ready" if model.is_file() else f"there is no model: {model}"
