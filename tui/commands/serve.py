"""`llmchat serve`: a backend on HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import signal
import threading
from functools import partial
from pathlib import Path

import msgspec

from backends import providers
from backends.backend import ChatRequest
from backends.beside import beside
from backends.config import Budgets, ConfigFile, Serve
from backends.errors import BackendError, Code, ConfigError
from backends.serve import serve
from backends.serve.access_log import opened
from backends.serve.app import Public
from backends.serve.guard import Access
from backends.serve.keys import KeyRing, default_path, read
from backends.serve.models import Models
from backends.serve.openapi import version
from backends.serve.reload import Reopened
from backends.serve.traces import exporting
from tui import log_file
from tui.exit_codes import ExitCode
from tui.target import Target

_log = logging.getLogger(__name__)


class Listen(msgspec.Struct, frozen=True):
    """Where to listen, and for whom. `insecure`: for everybody who reaches it, without a key."""

    host: str
    port: int
    uds: Path | None
    token_env: str | None
    keys: Path | None
    insecure: bool


class OnRay(msgspec.Struct, frozen=True):
    """So many replicas of the backend on a Ray cluster, each with so many GPUs of its own."""

    replicas: int
    gpus: float = 0.0


def run(target: Target, listen: Listen, resume_grace: float, on_ray: OnRay | None = None) -> ExitCode:
    """Serve until Ctrl-C or SIGTERM. Raises BackendError."""
    file = target.load()
    providers.check(file)
    if on_ray is not None:
        return _run_on_ray(file, listen, resume_grace, on_ray)
    settings = file.config.serve
    access = _access(file, listen)
    log_file.start()
    exported = exporting(settings.otel_endpoint, file.config.backend, version())
    with opened(_path(file, settings.log)) as logs, exported as traces:
        public = Public(_models(file), file.config.budget, (*logs, *traces))
        asyncio.run(_serve(target, file, listen, access, public, resume_grace))
    return ExitCode.COMPLETE


def _run_on_ray(file: ConfigFile, listen: Listen, resume_grace: float, on_ray: OnRay) -> ExitCode:
    """Serve on Ray until Ctrl-C or SIGTERM. Raises BackendError."""
    settings = _with_paths(file)
    if listen.uds or not listen.port:
        raise ConfigError("--ray listens on --host and --port (another than 0); it has no Unix socket")
    if settings.log or settings.otel_endpoint:
        raise ConfigError(
            "serve.log and serve.otel_endpoint are not there with --ray: Ray has logs and metrics of its own"
        )
    access = _access(file, listen)
    try:
        from backends.serve import ray_app
    except ModuleNotFoundError as error:
        raise ConfigError(f"--ray needs Ray Serve ({error}): pip install 'llmchat[ray]'") from None
    plan = ray_app.Plan(
        file, settings, access, _models(file), on_ray.replicas, on_ray.gpus, listen.host, listen.port, resume_grace
    )
    stop = threading.Event()
    with ray_app.deployed(plan) as address:
        print(f"Serving {file.config.backend} on {address}, {on_ray.replicas} replicas (Ctrl-C stops)", flush=True)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        stop.wait()
    return ExitCode.COMPLETE


async def _serve(
    target: Target, file: ConfigFile, listen: Listen, access: Access, public: Public, resume_grace: float
) -> None:
    def started(address: str) -> None:
        print(f"Serving {file.config.backend} on {address} (Ctrl-C stops)", flush=True)

    async with (
        contextlib.aclosing(providers.open_backend(file)) as backend,
        beside(backend.warm(ChatRequest(()))),  # a model begins to load before anybody asks
    ):
        await serve(
            backend,
            _with_paths(file),
            host=listen.host,
            port=listen.port,
            uds=str(listen.uds) if listen.uds else None,
            access=access,
            public=public,
            on_started=started,
            reopen=partial(_reopened, target, listen, file.config.budgets),
            resume_grace=resume_grace,
        )


def _reopened(target: Target, listen: Listen, budgets: Budgets) -> Reopened:
    """What the configuration says now; `budgets` are those that count. Raises ConfigError."""
    file = target.load()
    providers.check(file)
    if file.config.budgets != budgets:
        _log.warning("budgets have changed: that takes a restart")
    return Reopened(partial(providers.open_backend, file), _with_paths(file), _access(file, listen), _models(file))


def _access(file: ConfigFile, listen: Listen) -> Access:
    """Who may use it. Raises ConfigError where that is everybody who can reach another address than loopback."""
    settings = file.config.serve
    token = _token(listen.token_env)
    named = listen.keys or (Path(_path(file, settings.keys)) if settings.keys else None)
    path = named or default_path()
    keys = KeyRing(path) if named or read(path) else None
    if not (listen.uds or token or keys or listen.insecure or _is_loopback(listen.host)):
        message = f"others can reach {listen.host}: make keys for them (llmchat keys add NAME), or set a token for them"
        raise ConfigError(f"{message} (--token-env NAME); --insecure lets everybody in")
    return Access(
        token,
        keys,
        frozenset(settings.hosts),
        frozenset(settings.cors_origins),
        settings.requests_per_minute,
        settings.concurrency,
    )


def _with_paths(file: ConfigFile) -> Serve:
    settings = file.config.serve
    cert, key = _path(file, settings.tls_cert), _path(file, settings.tls_key)
    return msgspec.structs.replace(settings, tls_cert=cert, tls_key=key)


def _path(file: ConfigFile, text: str) -> str:
    """A path of the configuration: relative to the file's folder."""
    folder = file.path.parent if file.path else Path()
    return text if text in ("", "-") else str(folder / Path(text).expanduser())


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
