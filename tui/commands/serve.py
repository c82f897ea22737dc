"""`llmchat serve`: a backend on HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
from functools import partial
from pathlib import Path

from backends import providers
from backends.config import ConfigFile
from backends.errors import BackendError, Code
from backends.serve import serve
from backends.serve.models import Models
from tui import log_file
from tui.exit_codes import ExitCode
from tui.target import Target


def run(target: Target, host: str, port: int, uds: Path | None, token_env: str | None, resume_grace: float) -> ExitCode:
    """Serve until Ctrl-C or SIGTERM. Raises BackendError."""
    file = target.load()
    providers.check(file)
    token = _token(token_env)
    if uds is None and token is None and not _is_loopback(host):
        raise BackendError(Code.CONFIG, f"others can reach {host}: set a token for them (--token-env NAME)")
    log_file.start()
    backend = providers.open_backend(file)

    def started(address: str) -> None:
        print(f"Serving {file.config.backend} on {address} (Ctrl-C stops)", flush=True)

    async def answer() -> None:
        async with contextlib.aclosing(backend):
            socket = str(uds) if uds else None
            await serve(
                backend,
                host=host,
                port=port,
                uds=socket,
                token=token,
                models=_models(file),
                on_started=started,
                resume_grace=resume_grace,
            )

    asyncio.run(answer())
    return ExitCode.COMPLETE


def _models(file: ConfigFile) -> Models:
    """The backend by its name, and what the server behind it, if there is one, lists."""
    name, options = file.config.backend, providers.check(file)
    innermost = options[name]
    while isinstance(inner := getattr(innermost, "inner", None), str):
        innermost = options[inner]
    is_server = isinstance(innermost, providers.ServerOptions)
    return Models(name, partial(providers.list_models, file, name) if is_server else None)


def _token(variable: str | None) -> str | None:
    if variable is None:
        return None
    token = os.environ.get(variable)
    if not token:
        raise BackendError(Code.CONFIG, f"the environment variable {variable} is not set (named by --token-env)")
    return token


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
