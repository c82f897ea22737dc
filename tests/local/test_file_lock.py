"""The lock between processes."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from backends.local.file_lock import file_lock

HOLD = """
import fcntl, os, sys
fcntl.flock(os.open(sys.argv[1], os.O_RDWR | os.O_CREAT), fcntl.LOCK_EX)
print(flush=True)
sys.stdin.read()
"""


async def test_it_is_held_by_one_at_a_time_and_leaves_no_file(tmp_path: Path) -> None:
    path, inside, most = tmp_path / "x.lock", 0, 0

    async def use() -> None:
        nonlocal inside, most
        async with file_lock(path):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.01)
            inside -= 1

    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(use())
    assert most == 1
    assert not path.exists()


async def test_another_process_is_waited_for_and_its_death_frees(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    pipe = asyncio.subprocess.PIPE
    holder = await asyncio.create_subprocess_exec(sys.executable, "-c", HOLD, str(path), stdin=pipe, stdout=pipe)
    assert holder.stdout is not None
    await holder.stdout.readline()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2), file_lock(path):
            pass
    assert path.exists()  # who gave up took nothing away
    holder.kill()
    await holder.communicate()
    async with asyncio.timeout(30), file_lock(path):
        assert path.exists()


async def test_it_is_freed_by_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    with pytest.raises(ZeroDivisionError):
        async with file_lock(path):
            raise ZeroDivisionError
    async with asyncio.timeout(5), file_lock(path):
        pass
