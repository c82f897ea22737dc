"""`llmchat backends`: what is configured, whether it can be used, and what else runs on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Collection, Iterable
from pathlib import Path
from urllib.parse import urlsplit

from backends import config, providers
from backends.config import ConfigFile
from backends.engine.library import load_library
from backends.errors import BackendError
from backends.foreign.nearby import PORTS, Found, find
from backends.providers.local import Local
from tui.exit_codes import ExitCode
from tui.target import Target
from tui.widgets.plain import plain

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def run(target: Target, models: bool = False, ports: tuple[int, ...] = PORTS) -> ExitCode:
    """Print one line for each configured backend, with `models` those that it lists below it, and the lines to add
    for the servers that listen on `ports` of this machine. Raises ConfigError."""
    file = target.load()
    providers.check(file)
    print(f"Configuration: {file.path or f'none; it would be {config.default_path()}'}")
    asyncio.run(_list(file, models, ports))
    return ExitCode.COMPLETE


async def _list(file: ConfigFile, models: bool, ports: tuple[int, ...]) -> None:
    finding = asyncio.create_task(find(unknown_ports(file, ports)))
    tables = file.config.backends
    width = max(map(len, tables))
    for name, table in sorted(tables.items()):
        mark = "*" if name == file.config.backend else " "
        print(f"{mark} {name:{width}}  {table['type']:9}  {await _state(file, name)}")
        if models:
            for line in await _models(file, name):
                print(f"    {line}")
    if lines := suggested(await finding, tables):
        print("\nAlso running on this machine; to use it, add these lines to the configuration:\n")
        print("\n".join(lines))


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


async def _models(file: ConfigFile, name: str) -> list[str]:
    """The models that the server lists now, or why it does not."""
    try:
        return [plain(model) for model in await providers.list_models(file, name)]
    except BackendError as error:
        return [f"models unknown: {plain(error.message)}"]


def unknown_ports(file: ConfigFile, ports: Iterable[int]) -> tuple[int, ...]:
    """Those of `ports` that no configured backend uses on this machine."""
    urls = [urlsplit(str(table.get("url", ""))) for table in file.config.backends.values()]
    used = {url.port for url in urls if url.hostname in _LOOPBACK}
    return tuple(port for port in ports if port not in used)


def suggested(found: Iterable[Found], names: Collection[str]) -> list[str]:
    """The configuration's lines for servers that were `found`; `names` are taken."""
    taken, lines = set(names), []
    for server in found:
        known = server.dialect.server if " " not in server.dialect.server.strip() else server.dialect.type
        base = re.sub(r"[^a-z0-9]+", "-", known.lower()).strip("-")
        name = next(name for name in (base, *(f"{base}-{n}" for n in range(2, 99))) if name not in taken)
        taken.add(name)
        lines += [f"# {server.dialect.server}", f"[backends.{name}]", f'type = "{server.dialect.type}"']
        lines += [f'url = "{server.url}"', ""]
    return lines[:-1]
