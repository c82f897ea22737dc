"""One timer for many waits, on the real event loop."""

from __future__ import annotations

import asyncio

import pytest

from backends.sse.alarm import Alarm

PATIENCE = 20.0


def after(seconds: float) -> Alarm:
    """Every wait may take `seconds`."""
    return Alarm(lambda since: since + seconds)


async def test_a_wait_that_takes_too_long_ends_with_a_timeout_and_the_task_goes_on() -> None:
    alarm = after(0.01)

    async with asyncio.timeout(PATIENCE):
        for _ in range(3):
            with pytest.raises(TimeoutError), alarm:
                await asyncio.Event().wait()

    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()


async def test_many_short_waits_may_together_take_longer_than_one_may() -> None:
    alarm = after(0.5)
    begun = asyncio.get_running_loop().time()

    while asyncio.get_running_loop().time() < begun + 0.7:
        with alarm:
            await asyncio.sleep(0.001)
    with pytest.raises(TimeoutError), alarm:
        await asyncio.sleep(PATIENCE)


async def test_what_is_done_between_two_waits_is_not_interrupted() -> None:
    alarm = after(0.01)

    with alarm:
        await asyncio.sleep(0)
    await asyncio.sleep(0.05)
    with pytest.raises(TimeoutError), alarm:
        await asyncio.sleep(PATIENCE)


async def test_a_task_that_is_cancelled_by_somebody_else_stays_cancelled() -> None:
    alarm, waiting = after(PATIENCE), asyncio.Event()

    async def wait() -> None:
        with alarm:
            waiting.set()
            await asyncio.sleep(PATIENCE)

    task = asyncio.create_task(wait())
    await waiting.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    alarm.close()


async def test_without_a_limit_nothing_is_set() -> None:
    alarm = Alarm(lambda _since: None)

    with alarm:
        await asyncio.sleep(0.01)
    alarm.close()
