"""Recording a stream and playing it back."""

from __future__ import annotations

import asyncio
import json
import logging
import stat
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backends.backend import Backend, ChatRequest, Message
from backends.config import parse
from backends.errors import Code
from backends.events import Done, Error, Event, Status, Token
from backends.providers import open_backend
from backends.providers.replay import Recorder, Replay
from tests.fakes.scripted import Hold, Scripted, answer

PATIENCE = 20.0


def request(question: str = "hi", key: str = "") -> ChatRequest:
    """One request."""
    return ChatRequest((Message("system", "be kind"), Message("user", question)), key=key)


async def read(stream: AsyncIterator[Event]) -> list[Event]:
    """All events of `stream`."""
    async with asyncio.timeout(PATIENCE):
        return [event async for event in stream]


async def record(folder: Path, *script: Event, question: str = "hi") -> Path:
    """One recording in `folder`."""
    before = recordings(folder)
    await read(Recorder(Scripted(*script), folder).stream(request(question)))
    (made,) = recordings(folder) - before
    return made


def recordings(folder: Path) -> set[Path]:
    """The files in `folder`; none when it is not there."""
    return set(folder.glob("*"))


class TestRecorder:
    async def test_a_stream_passes_unchanged_and_plays_back_the_same(self, tmp_path: Path) -> None:
        script = (Status("queued", position=3), Token("a\n"), Token("ü", 2), Done(3, 4.0, "length"))
        inner = Scripted(*script)

        passed = await read(Recorder(inner, tmp_path / "new" / "folder").stream(request()))
        played = await read(Replay(tmp_path / "new" / "folder", speed=0).stream(request()))

        assert tuple(passed) == tuple(played) == script
        assert inner.ended == 1

    async def test_it_is_for_its_owner_only_and_holds_no_key(self, tmp_path: Path) -> None:
        folder = tmp_path / "recordings"
        await read(Recorder(Scripted(*answer("a")), folder).stream(request(key="idempotent")))

        (file,) = folder.iterdir()

        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        head, *lines = map(json.loads, file.read_text().splitlines())
        assert head["request"]["messages"][1]["content"] == "hi"
        assert "idempotent" not in file.read_text()
        assert [line["event"] for line in lines] == ["token", "done"]
        assert all(line["ms"] >= 0 for line in lines)

    async def test_closing_early_closes_the_inner_stream_and_keeps_what_came(self, tmp_path: Path) -> None:
        inner = Scripted(Token("a"), Hold(), *answer("b"))
        stream = Recorder(inner, tmp_path).stream(request())

        assert await anext(stream) == Token("a")
        await stream.aclose()  # type: ignore[attr-defined]

        assert (inner.streaming, inner.cut) == (0, 1)
        last = (await read(Replay(tmp_path, speed=0).stream(request())))[-1]
        assert isinstance(last, Error)
        assert last.code == Code.INTERRUPTED

    async def test_an_answer_goes_on_when_it_cannot_be_recorded(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        (tmp_path / "file").write_text("in the way")

        with caplog.at_level(logging.WARNING):
            passed = await read(Recorder(Scripted(*answer("a")), tmp_path / "file").stream(request()))

        assert isinstance(passed[-1], Done)
        assert "not recorded" in caplog.text

    async def test_warm_and_close_are_passed_on(self, tmp_path: Path) -> None:
        inner = Scripted()
        recorder: Backend = Recorder(inner, tmp_path)

        await recorder.warm(request())
        await recorder.aclose()

        assert len(inner.warmed) == 1
        assert inner.closed

    async def test_any_backend_is_recorded_by_configuration(self, tmp_path: Path) -> None:
        await record(tmp_path / "in", *answer("a"))
        table = f'type = "replay"\npath = "{tmp_path}/in"\nspeed = 0\nrecord = "{tmp_path}/out"'

        backend = open_backend(parse(f'backend = "b"\n[backends.b]\n{table}\n'))
        await read(backend.stream(request()))

        assert len(list((tmp_path / "out").iterdir())) == 1


class TestReplay:
    async def test_timing(self, tmp_path: Path) -> None:
        file = tmp_path / "r.jsonl"
        lines = [{"request": {"messages": []}}]
        lines += [{"ms": ms, "event": "token", "data": {"text": "a"}} for ms in (0, 300, 600)]  # type: ignore[dict-item]
        lines.append({"ms": 600, "event": "done", "data": {"totalTokens": 3, "latency": 600}})  # type: ignore[dict-item]
        file.write_text("\n".join(map(json.dumps, lines)))

        for speed, least in ((1.0, 0.6), (3.0, 0.2)):
            begun = time.perf_counter()
            played = await read(Replay(file, speed).stream(request()))
            assert time.perf_counter() - begun >= least
            assert len(played) == 4

    async def test_the_recording_of_the_same_question_is_taken(self, tmp_path: Path) -> None:
        for question in ("first", "second", "third"):
            await record(tmp_path, *answer(question.upper()), question=question)

        assert (await read(Replay(tmp_path, speed=0).stream(request("second"))))[0] == Token("SECOND")

    async def test_asked_again_the_one_before_is_played(self, tmp_path: Path) -> None:
        for text in ("old", "new"):
            await record(tmp_path, *answer(text))
        replay = Replay(tmp_path, speed=0)

        played = [(await read(replay.stream(request())))[0] for _ in range(3)]

        assert played == [Token("new"), Token("old"), Token("new")]

    async def test_other_questions_take_turns(self, tmp_path: Path) -> None:
        for text in ("old", "new"):
            await record(tmp_path, *answer(text), question=text)
        replay = Replay(tmp_path, speed=0)

        played = [(await read(replay.stream(request("unheard of"))))[0] for _ in range(3)]

        assert played == [Token("new"), Token("old"), Token("new")]

    async def test_missing(self, tmp_path: Path) -> None:
        for path in (tmp_path / "none.jsonl", tmp_path):
            (error,) = await read(Replay(path).stream(request()))
            assert isinstance(error, Error)
            assert error.code == Code.NOT_FOUND
            assert str(path) in error.message

    @pytest.mark.parametrize(
        ("number", "line"),
        [
            (1, b"not json"),
            (1, b'{"request": {}}'),
            (2, b'{"ms": 1, "event": "token"'),
            (3, b'{"ms": "soon", "event": "token", "data": {}}'),
            (3, b'{"ms": 1, "event": "token", "data": {"text": 5}}'),
            (3, b'{"ms": 1, "event": "token", "data": {"text": "\xff"}}'),
        ],
        ids=range(6),
    )
    async def test_damaged(self, tmp_path: Path, number: int, line: bytes) -> None:
        file = await record(tmp_path, *answer("a", "b"))
        lines = file.read_bytes().splitlines()
        lines[number - 1] = line
        file.write_bytes(b"\n".join(lines))

        (error,) = await read(Replay(file).stream(request()))

        assert isinstance(error, Error)
        assert error.code == Code.BAD_RESPONSE
        assert f"{file}, line {number}:" in error.message
        assert "\n" not in error.message

    async def test_events_of_a_later_version_are_passed_over(self, tmp_path: Path) -> None:
        file = await record(tmp_path, *answer("a"))
        head, *rest = file.read_text().splitlines()
        file.write_text("\n".join([head, '{"ms": 0, "event": "news", "data": {"x": 1}}', "", *rest]))

        assert (await read(Replay(file, 0).stream(request())))[0] == Token("a")
