"""The two servers as child processes, on the same model with the same settings."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec

from backends.bench.wire import ServerClient
from backends.engine.options import EngineOptions
from backends.errors import BackendError, Code

_START_S = 180.0
_END_S = 10.0


def rival_flags(options: EngineOptions, threads: int, repack: bool, on_gpu: bool) -> list[str]:
    """llama-server's options for what `options` say: the same cells in one unified cache, the same batches, threads.

    Without a GPU flash attention is off on both sides: there it slows decoding, which would flatter us.
    """
    flash = {"auto": "auto" if on_gpu else "off", "on": "on", "off": "off"}[options.flash_attention]
    flags = {
        "-m": options.model,
        "-c": str(options.kv_cells),
        "-np": str(options.max_streams),
        "-b": str(options.n_batch),
        "-ub": str(options.n_ubatch),
        "-t": str(threads),
        "-tb": str(threads),
        "-fa": flash,
        "-ctk": options.kv_type,
        "-ctv": options.kv_type,
        "-ngl": "999" if on_gpu and options.n_gpu_layers else "0",
    }
    return [*(word for pair in flags.items() for word in pair), "-kvu", *([] if repack else ["--no-repack"])]


@contextlib.asynccontextmanager
async def our_server(options: EngineOptions, log: Path) -> AsyncIterator[ServerClient]:
    """The engine behind HTTP, as a chat's child process is, on TCP. Raises BackendError when it does not start."""
    command = [sys.executable, "-m", "backends.bench.engine_server", msgspec.json.encode(options).decode()]
    port = _free_port()
    async with _process([*command, str(port)], log, {}) as child:
        yield await _answering(ServerClient("native", port), "/readyz", child, log)


@contextlib.asynccontextmanager
async def llama_server(
    binary: Path, flags: Sequence[str], log: Path, libraries: Path | None = None
) -> AsyncIterator[ServerClient]:
    """llama-server. `libraries`: folder of the llama.cpp libraries it is to run on, ours. Raises BackendError."""
    port = _free_port()
    command = [str(binary), *flags, "--host", "127.0.0.1", "--port", str(port), "--no-ui"]
    environment = {"GGML_NO_BACKTRACE": "1"}
    if libraries is not None:
        environment["LD_LIBRARY_PATH"] = f"{libraries}:{binary.parent}"
    async with _process(command, log, environment) as child:
        yield await _answering(ServerClient("llama-server", port), "/health", child, log)


@contextlib.asynccontextmanager
async def _process(
    command: Sequence[str], log: Path, environment: dict[str, str]
) -> AsyncIterator[asyncio.subprocess.Process]:
    """`command`, its output in `log`, ended on leaving."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        child = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=os.environ | environment,
        )
    try:
        yield child
    finally:
        if child.returncode is None:
            child.terminate()
            try:
                await asyncio.wait_for(child.wait(), _END_S)
            except TimeoutError:
                child.kill()
                await child.wait()


async def _answering(client: ServerClient, path: str, child: asyncio.subprocess.Process, log: Path) -> ServerClient:
    """`client`, once its server says 200. Raises BackendError when it never does."""
    deadline = asyncio.get_running_loop().time() + _START_S
    while not await _is_ready(client.port, path):
        if child.returncode is not None:
            raise BackendError(Code.CONNECT, f"a server ended at its start with code {child.returncode}; see {log}")
        if asyncio.get_running_loop().time() > deadline:
            raise BackendError(Code.CONNECT, f"a server did not start within {_START_S:.0f} s; see {log}")
        await asyncio.sleep(0.1)
    return client


async def _is_ready(port: int, path: str) -> bool:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.closing(writer):
            writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            return b" 200 " in await reader.readline()
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
