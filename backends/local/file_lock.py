"""A lock between processes that the kernel frees with its holder, and that leaves no file behind."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

_LOOK_AGAIN = 0.02


@asynccontextmanager
async def file_lock(path: Path) -> AsyncIterator[None]:
    """Hold the lock at `path`, waiting for it as long as it takes; a dead holder holds nothing.

    The file is removed by its holder, so a waiter may win the lock of a file that is gone: it then takes the new one.
    """
    while (descriptor := _try(path)) is None:  # noqa: ASYNC110  the kernel tells no event loop
        await asyncio.sleep(_LOOK_AGAIN)
    try:
        yield
    finally:
        _release(path, descriptor)


def _try(path: Path) -> int | None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    with suppress(BlockingIOError, FileNotFoundError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
    os.close(descriptor)
    return None


def _release(path: Path, descriptor: int) -> None:
    path.unlink(missing_ok=True)
    os.close(descriptor)
