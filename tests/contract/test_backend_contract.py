"""What every backend promises (`backends.backend.Backend`): the same assertions for all of them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from backends.events import Done, Error, Event, Meta, Reasoning, Status, Token, is_terminal
from tests.contract.subjects import ENDLESS, SUBJECTS, Subject, request

PATIENCE = 20.0
"""Seconds after which something that must happen at once counts as not happening, on a loaded machine."""

_WAITING = {"connecting", "loading", "queued", "retrieving", "reranking", "assembling", "prefilling"}


@pytest.fixture(params=list(SUBJECTS))
async def subject(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Subject]:
    """One backend after the other; closed at the end."""
    async with SUBJECTS[request.param](tmp_path) as subject:
        yield subject
        await subject.backend.aclose()
        await subject.broken.aclose()


async def test_a_stream_is_well_formed(subject: Subject) -> None:
    called = time.perf_counter()
    answer = await read(subject.ask("one two three"))
    wall = (time.perf_counter() - called) * 1000

    check(answer)
    done = answer[-1]
    assert isinstance(done, Done), done
    assert 0 < done.latency <= wall
    if subject.echoes:
        assert text(answer) == "one two three"
        assert done.total_tokens == 3
    assert done.finish_reason == ("stop" if subject.echoes else "length")


async def test_closing_early_cancels_at_the_far_end(subject: Subject) -> None:
    before = asyncio.all_tasks()
    stream = subject.ask(ENDLESS)
    await first_token(stream)
    await close(stream)

    if subject.busy is not None:
        await eventually(lambda: subject.busy() == 0)
    await eventually(lambda: not own_tasks(before))
    check(await read(subject.ask("once more")))


async def test_closing_before_anything_was_asked_for_is_harmless(subject: Subject) -> None:
    await close(subject.ask(ENDLESS))

    assert subject.busy is None or subject.busy() == 0
    check(await read(subject.ask("once more")))


async def test_cancelling_the_reader_cancels_at_the_far_end(subject: Subject) -> None:
    before = asyncio.all_tasks()
    got_token = asyncio.Event()

    async def reader() -> None:
        stream = subject.ask(ENDLESS)
        async with contextlib.aclosing(stream):
            async for event in stream:
                if isinstance(event, Token):
                    got_token.set()

    task = asyncio.create_task(reader())
    await asyncio.wait_for(got_token.wait(), PATIENCE)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, PATIENCE)

    if subject.busy is not None:
        await eventually(lambda: subject.busy() == 0)
    await eventually(lambda: not own_tasks(before))
    check(await read(subject.ask("once more")))


async def test_streams_side_by_side_do_not_mix(subject: Subject) -> None:
    questions = [f"question number {number}" for number in range(5)]
    endless = subject.ask(ENDLESS)
    await first_token(endless)
    answers = await asyncio.gather(*(read(subject.ask(question)) for question in questions))
    await close(endless)

    for question, answer in zip(questions, answers, strict=True):
        check(answer)
        assert isinstance(answer[-1], Done), answer[-1]
        if subject.echoes:
            assert text(answer) == question


async def test_closing_the_backend_ends_running_streams(subject: Subject) -> None:
    stream = subject.ask(ENDLESS)
    seen = await first_token(stream)
    rest = asyncio.create_task(read(stream))
    await asyncio.sleep(0)
    await asyncio.wait_for(subject.backend.aclose(), PATIENCE)
    answer = seen + await asyncio.wait_for(rest, PATIENCE)

    assert isinstance(answer[-1], Error), answer[-1]
    assert answer[-1].message


async def test_warming_never_fails(subject: Subject) -> None:
    await asyncio.wait_for(subject.backend.warm(request("one two")), PATIENCE)
    await asyncio.wait_for(subject.broken.warm(request("one two")), PATIENCE)

    check(await read(subject.ask("one two three")))


async def test_a_backend_that_cannot_answer_says_why(subject: Subject) -> None:
    answer = await read(subject.broken.stream(request("one two three")))

    error = answer[-1]
    assert isinstance(error, Error), error
    assert error.code == subject.broken_code
    assert len(error.message) > 10
    assert "\n" not in error.message
    assert not any(isinstance(event, Token) for event in answer)


def check(answer: list[Event]) -> None:
    """What holds for every stream that was read to its end."""
    assert answer, "a stream without events"
    assert is_terminal(answer[-1]), f"ends without a terminal event: {answer[-1]}"
    assert not any(is_terminal(event) for event in answer[:-1]), "more than one terminal event"
    words = [number for number, event in enumerate(answer) if isinstance(event, Token | Reasoning)]
    waits = [number for number, event in enumerate(answer) if isinstance(event, Status) and event.status in _WAITING]
    assert words, "no text"
    assert max(waits, default=-1) < min(words), "a status that waits for the first token came after it"
    metas = [event for event in answer if isinstance(event, Meta)]
    latencies = [meta.latency for meta in metas if meta.latency is not None]
    assert latencies == sorted(latencies)
    for span in (span for meta in metas for span in meta.spans):
        assert span.offset >= 0, span
        assert span.duration >= 0, span
    check_count(answer, metas)


def check_count(answer: list[Event], metas: list[Meta]) -> None:
    """`Done.total_tokens` is what was told, and the sum of the counts where every piece had one."""
    done = answer[-1]
    if not isinstance(done, Done):
        return
    counts = [event.count for event in answer if isinstance(event, Token | Reasoning)]
    told = [meta.completion_tokens for meta in metas if meta.completion_tokens is not None]
    if told:
        assert done.total_tokens == told[-1]
    if all(counts):
        assert done.total_tokens == sum(counts)


def text(answer: list[Event]) -> str:
    """The answer's text."""
    return "".join(event.text for event in answer if isinstance(event, Token))


async def read(stream: AsyncIterator[Event]) -> list[Event]:
    """All of `stream`."""
    async with asyncio.timeout(PATIENCE):
        return [event async for event in stream]


async def first_token(stream: AsyncIterator[Event]) -> list[Event]:
    """`stream` up to its first token."""
    seen: list[Event] = []
    async with asyncio.timeout(PATIENCE):
        async for event in stream:
            seen.append(event)
            if isinstance(event, Token):
                return seen
    raise AssertionError(f"no token: {seen}")


async def close(stream: AsyncIterator[Event]) -> None:
    """Close the iterator; every backend's can be."""
    await asyncio.wait_for(stream.aclose(), PATIENCE)  # type: ignore[attr-defined]


async def eventually(true: Callable[[], bool]) -> None:
    """Wait until `true()`; fails after `PATIENCE`."""
    async with asyncio.timeout(PATIENCE):
        while not true():  # noqa: ASYNC110 - looks at what has no event
            await asyncio.sleep(0.005)


def own_tasks(before: set[asyncio.Task[object]]) -> set[asyncio.Task[object]]:
    """Tasks that run now and did not `before`; a server's tasks for an idle connection end with the connection."""
    return asyncio.all_tasks() - before
