"""The child as its parent holds it: started apart from the terminal, greeted, reaped, and spoken of when it died."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import msgspec

from backends.errors import BackendError, Code
from backends.local.log_file import LogFile
from backends.local.spec import Endpoint, Handshake, Start

MODULE = "backends.serve.child"

_REAP_S = 2.0
"""A process whose connections the kernel has closed is gone within moments: so long its status is waited for."""


class Process:
    """A child that this process started. It is nobody's to stop: it ends after its last lease."""

    def __init__(self, popen: subprocess.Popen[bytes], log: LogFile, log_start: int) -> None:
        self._popen = popen
        self._log = log
        self._log_start = log_start
        # Reaps the child whenever it ends, this client being done with it or not; dies with this process.
        threading.Thread(target=popen.wait, name=f"reap engine {popen.pid}", daemon=True).start()

    @classmethod
    def start(cls, start: Start, log: LogFile) -> Process:
        """Start a child. Its settings go through a pipe, since others can read a command line.

        Raises BackendError when the system refuses to start it.
        """
        try:
            descriptor = log.open()
            try:
                popen = subprocess.Popen(
                    [sys.executable, "-P", "-m", MODULE],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=descriptor,
                    cwd="/",
                    env=_environment(),
                    start_new_session=True,  # Ctrl-C in the terminal must not end it before its clients
                )
                log_start = os.fstat(descriptor).st_size
            finally:
                os.close(descriptor)
        except OSError as error:
            raise BackendError(Code.ENGINE_DIED, f"the engine cannot be started: {error}", retryable=True) from None
        process = cls(popen, log, log_start)
        assert popen.stdin is not None
        with suppress(BrokenPipeError), popen.stdin as pipe:  # a child that is dead already is found out below
            pipe.write(msgspec.json.encode(start))
        return process

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._popen.pid

    async def greet(self) -> Endpoint:
        """Wait until the child says where it answers. Raises BackendError with its reason when it cannot, or died."""
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), self._popen.stdout)
        try:
            words = await reader.read()
        finally:
            transport.close()
        if not words:
            raise await self.obituary()
        handshake = msgspec.json.decode(words, type=Handshake)
        if handshake.error is not None:
            error = handshake.error
            raise BackendError(error.code, error.message, retryable=error.retryable)
        assert handshake.endpoint is not None
        return handshake.endpoint

    async def obituary(self) -> BackendError:
        """Why the child has ended, or is about to: its signal or exit code, and the last line of its log."""
        status: int | None = None
        with suppress(subprocess.TimeoutExpired):
            status = await asyncio.to_thread(self._popen.wait, _REAP_S)
        return engine_died(exit_words(status), self._log, self._log_start)

    def kill(self) -> None:
        """End a child that does not answer."""
        self._popen.kill()


def engine_died(how: str, log: LogFile, log_start: int = 0) -> BackendError:
    """The failure of everything that waited for a child that has gone; the next request starts another."""
    line = log.last_line(log_start)
    words = f"; its log ends: {line}" if line else ""
    return BackendError(
        Code.ENGINE_DIED, f"the engine {how}{words} ({log.path}). Ask again to start it anew", retryable=True
    )


def exit_words(status: int | None) -> str:
    """A process's exit status (negative: the signal that ended it) in words."""
    if status is None:
        return "closed its connections"
    if status >= 0:
        return f"ended with exit code {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = "unknown"
    words = f"was killed by signal {-status} ({name})"
    return words + (", as the system does when memory runs out" if -status == signal.SIGKILL else "")


def _environment() -> dict[str, str]:
    """This process's environment, with this very copy of llmchat, and no debugger started by a failed assert."""
    environment = os.environ | {"GGML_NO_BACKTRACE": "1"}
    root = Path(__file__).parents[2]
    if root.name not in ("site-packages", "dist-packages"):
        paths = [str(root), *filter(None, [environment.get("PYTHONPATH")])]
        environment["PYTHONPATH"] = os.pathsep.join(paths)
    return environment
