"""`llmchat backends`: what is configured, and whether it can be used."""

from __future__ import annotations

import asyncio

from backends import config, providers
from backends.config import ConfigFile
from backends.errors import BackendError
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
    try:
        backend = providers.open_backend(file, name)
    except BackendError as error:
        return error.message
    await backend.aclose()
    return "ready"
