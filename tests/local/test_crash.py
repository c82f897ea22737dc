"""The child dies: whoever waits is told why, and the next question gets a new child."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable

import msgspec
import pytest

from backends.errors import BackendError, Code
from backends.events import Done, Error, Status, Token
from backends.local import process
from backends.local.launcher import Settings
from backends.local.process import exit_words
from backends.providers.local import Local
from tests.local.conftest import PATIENCE, is_running
from tests.local.talk import answer, ask, child, endpoints, first_token

OpenLocal = Callable[..., Local]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT])
async def test_a_crash_in_mid_answer_is_told_and_the_next_question_answered(
    open_local: OpenLocal, settings: Settings, number: signal.Signals
) -> None:
    local = open_local()
    events = local.stream(ask(max_tokens=15_000))
    await first_token(events)
    pid = child(settings)
    os.kill(pid, number)
    *tokens, last = [event async for event in events]
    assert all(isinstance(event, Token) for event in tokens)  # what had been sent is kept
    assert isinstance(last, Error)
    assert last.code == Code.ENGINE_DIED
    assert last.retryable
    assert f"signal {number.value} ({number.name})" in last.message
    assert str(settings.logs) in last.message
    assert not is_running(pid)
    assert endpoints(settings) == []

    again = await answer(local)
    assert again[0] == Status("loading", detail="starting the engine")
    assert isinstance(again[-1], Done)
    assert child(settings) != pid


async def test_every_running_answer_is_told(open_local: OpenLocal, settings: Settings) -> None:
    local = open_local()
    streams = [local.stream(ask(max_tokens=3_000)) for _ in range(3)]
    for events in streams:
        await first_token(events)
    os.kill(child(settings), signal.SIGKILL)
    for events in streams:
        last = [event async for event in events][-1]
        assert isinstance(last, Error)
        assert last.code == Code.ENGINE_DIED
    assert isinstance((await answer(local))[-1], Done)


async def test_a_crash_between_two_questions_costs_a_start(open_local: OpenLocal, settings: Settings) -> None:
    local = open_local()
    await answer(local)
    pid = child(settings)
    os.kill(pid, signal.SIGKILL)
    await lost(local)
    assert isinstance((await answer(local))[-1], Done)
    assert child(settings) != pid


async def test_a_crash_that_nobody_asks_about_leaves_nothing(open_local: OpenLocal, settings: Settings) -> None:
    local = open_local()
    await answer(local)
    os.kill(child(settings), signal.SIGKILL)
    await lost(local)
    await local.aclose()
    assert settings.folder is not None
    assert list(settings.folder.iterdir()) == []


async def test_a_child_that_another_client_started_dies(open_local: OpenLocal, settings: Settings) -> None:
    first, second = open_local(), open_local()
    await answer(first)
    pid = child(settings)
    events = second.stream(ask(max_tokens=15_000))
    await first_token(events)
    assert child(settings) == pid
    os.kill(pid, signal.SIGKILL)
    last = [event async for event in events][-1]
    assert isinstance(last, Error)
    assert last.code == Code.ENGINE_DIED
    assert f"process {pid}" in last.message


async def test_a_polite_end_is_a_shutdown(open_local: OpenLocal, settings: Settings) -> None:
    local = open_local()
    events = local.stream(ask(max_tokens=15_000))
    await first_token(events)
    os.kill(child(settings), signal.SIGTERM)
    last = [event async for event in events][-1]
    assert isinstance(last, Error)
    assert last.code == Code.SHUTDOWN
    assert isinstance((await answer(local))[-1], Done)


async def test_a_child_that_dies_at_its_start_is_quoted(open_local: OpenLocal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "MODULE", "backends.serve.nothing_of_that_name")
    last = (await answer(open_local()))[-1]
    assert isinstance(last, Error)
    assert last.code == Code.ENGINE_DIED
    assert "ended with exit code 1" in last.message
    assert "nothing_of_that_name" in last.message


async def test_a_child_that_does_not_answer_in_time_is_given_up(open_local: OpenLocal, settings: Settings) -> None:
    last = (await answer(open_local(how=msgspec.structs.replace(settings, start_timeout=0.01))))[-1]
    assert isinstance(last, Error)
    assert last.code == Code.TIMEOUT_CONNECT
    assert "within 0.01 s" in last.message


def test_statuses_in_words() -> None:
    assert exit_words(3) == "ended with exit code 3"
    assert "SIGABRT" in exit_words(-6)
    assert "memory" in exit_words(-9)
    assert "signal 250 (unknown)" in exit_words(-250)


def test_a_failed_assert_starts_no_debugger() -> None:
    assert process._environment()["GGML_NO_BACKTRACE"] == "1"


def test_the_child_runs_this_copy_of_llmchat() -> None:
    code = "import backends; print(*backends.__path__)"
    words = subprocess.run(
        [sys.executable, "-P", "-c", code], env=process._environment(), cwd="/", capture_output=True, text=True
    )
    import backends

    assert words.stdout.split() == list(backends.__path__)


async def test_obituary_of_an_attachment_is_retryable(open_local: OpenLocal, settings: Settings) -> None:
    local = open_local()
    await answer(local)
    link = local._link
    assert link is not None
    os.kill(child(settings), signal.SIGKILL)
    death = await link.attachment.obituary()
    assert isinstance(death, BackendError)
    assert death.retryable
    assert str(settings.logs) in death.message


async def lost(local: Local) -> None:
    """Wait until `local` knows that its child is gone."""
    assert local._link is not None
    await asyncio.wait_for(local._link.attachment.lease.lost, PATIENCE)
