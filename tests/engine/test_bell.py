"""What a thread leaves for the loop is called there, in order, and nothing of it is lost."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from backends.engine.bell import Bell

CALLS = 20_000


async def test_calls_come_in_order_on_the_loop() -> None:
    bell, done = Bell(asyncio.get_running_loop()), asyncio.Event()
    seen: list[int] = []
    threads: set[int] = set()

    def take(number: int) -> None:
        seen.append(number)
        threads.add(threading.get_ident())
        if number == CALLS - 1:
            done.set()

    def ring() -> None:
        for number in range(CALLS):
            bell.call(take, number)

    ringing = threading.Thread(target=ring)
    ringing.start()
    await done.wait()
    ringing.join()
    bell.close()
    assert seen == list(range(CALLS))
    assert threads == {threading.get_ident()}


async def test_a_loop_that_is_held_up_misses_nothing() -> None:
    """The pipe is full long before the loop looks."""
    bell, done = Bell(asyncio.get_running_loop()), asyncio.Event()
    seen: list[int] = []

    def ring() -> None:
        for number in range(100_000):
            bell.call(seen.append, number)
        bell.call(done.set)

    ringing = threading.Thread(target=ring)
    ringing.start()
    ringing.join()
    await done.wait()
    bell.close()
    assert seen == list(range(100_000))


async def test_what_is_left_at_the_end_is_called_and_the_pipe_released() -> None:
    before = open_files()
    bell = Bell(asyncio.get_running_loop())
    seen: list[int] = []
    bell.call(seen.append, 1)
    bell.close()
    assert seen == [1]
    assert open_files() == before
    bell.close()


def test_a_closed_loop_is_told() -> None:
    loop = asyncio.new_event_loop()
    bell = Bell(loop)
    bell.close()
    bell = Bell(loop)
    loop.close()
    with pytest.raises(RuntimeError, match="closed"):
        bell.call(print)
    bell.close()


def open_files() -> int | None:
    """How many files this process has open; None where it is not told."""
    here = Path("/proc/self/fd")
    return len(list(here.iterdir())) if here.exists() else None
