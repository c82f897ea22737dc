"""From a spec to a lease on a child that serves it: the one that runs, else a new one; never two, never a dead one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from backends.errors import BackendError, Code
from backends.local.file_lock import file_lock
from backends.local.lease import Lease
from backends.local.log_file import LogFile
from backends.local.process import Process, engine_died
from backends.local.runtime_folder import RuntimeFolder
from backends.local.spec import Endpoint, Spec, Start, Transport, key


class Settings(msgspec.Struct, frozen=True):
    """How children are started and kept, in seconds; the defaults serve people, tests set their own.

    `folder` and `logs`: None takes the user's runtime folder and log folder. `start_timeout` bounds the time until a
    child answers, other clients' starts included; its model may take longer.
    """

    transport: Transport = "auto"
    grace: float = 2.0
    first_lease: float = 30.0
    start_timeout: float = 30.0
    folder: Path | None = None
    logs: Path | None = None


class Attachment:
    """A child in use: where it answers, and the lease that keeps it; no `process` where another client started it."""

    def __init__(
        self, key: str, endpoint: Endpoint, lease: Lease, folder: RuntimeFolder, log: LogFile, process: Process | None
    ) -> None:
        self.endpoint = endpoint
        self.lease = lease
        self._key = key
        self._folder = folder
        self._log = log
        self._process = process

    @property
    def alive(self) -> bool:
        """False once the child has closed the lease."""
        return not self.lease.lost.done()

    async def aclose(self) -> None:
        """Give the lease up; a child that died has its traces removed."""
        if not self.alive:
            self._folder.forget(self._key, self.endpoint)
        self.lease.drop()
        await asyncio.wait({self.lease.lost})

    async def obituary(self) -> BackendError:
        """Why the child is gone. Call it when it is: what it left behind is removed too."""
        self._folder.forget(self._key, self.endpoint)
        if self._process is not None:
            return await self._process.obituary()
        return engine_died(f"(process {self.endpoint.pid}, started by another llmchat) is gone", self._log)


async def attach(spec: Spec, settings: Settings) -> Attachment:
    """A lease on a child that serves `spec`, starting it if none runs. Returns when it answers, its model maybe not
    yet loaded. Raises BackendError: MODEL_LOAD, CONFIG, ENGINE_DIED, TIMEOUT_CONNECT or what the child says."""
    name, folder, log = await asyncio.to_thread(_place, spec, settings)
    try:
        async with asyncio.timeout(settings.start_timeout), file_lock(folder.lock(name)):
            endpoint = folder.find(name)
            if endpoint is not None:
                lease = await _join(endpoint)
                if lease is not None:
                    return Attachment(name, endpoint, lease, folder, log, None)
                folder.forget(name, endpoint)
            folder.sweep()
            start = Start(spec, name, str(folder.path), settings.transport, settings.grace, settings.first_lease)
            return await _launch(start, folder, log)
    except TimeoutError:
        line = log.last_line()
        words = f"; its log ends: {line}" if line else ""
        raise BackendError(
            Code.TIMEOUT_CONNECT,
            f"the engine did not answer within {settings.start_timeout:g} s{words} ({log.path})",
            retryable=True,
        ) from None


def _place(spec: Spec, settings: Settings) -> tuple[str, RuntimeFolder, LogFile]:
    """The child's key, and where it is found and written about. Raises BackendError."""
    name = key(spec)
    folder = RuntimeFolder(settings.folder) if settings.folder else RuntimeFolder.default()
    return name, folder, LogFile(settings.logs or _log_folder(), name, folder.path)


async def _join(endpoint: Endpoint) -> Lease | None:
    """A lease on the child that was there; None when it has ended or is ending."""
    try:
        return await Lease.take(endpoint)
    except BackendError:
        return None


async def _launch(start: Start, folder: RuntimeFolder, log: LogFile) -> Attachment:
    process = Process.start(start, log)
    try:
        endpoint = await process.greet()
        lease = await Lease.take(endpoint)
    except BaseException:
        process.kill()
        raise
    return Attachment(start.key, endpoint, lease, folder, log, process)


def _log_folder() -> Path:
    from platformdirs import user_log_path

    return user_log_path("llmchat")
