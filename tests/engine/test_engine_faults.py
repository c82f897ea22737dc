"""What goes wrong: models that do not load, decodes that fail, a loop that dies, shutting down."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from backends.engine import Engine, EngineOptions
from backends.engine.library import MENDED, crashes_repacked
from backends.engine.runner import ABORTED, Job, Runner
from backends.engine.running import Running
from backends.engine.step import Stepper
from backends.engine.template import ChatTemplate
from backends.errors import BackendError
from backends.events import Token
from tests.engine.answers import ask, read, request
from tests.engine.conftest import StartEngine
from tests.fakes.gguf_model import write_model


def _truncated(path: Path, model: bytes) -> None:
    path.write_bytes(model[: len(model) // 2])


def _cut_header(path: Path, model: bytes) -> None:
    path.write_bytes(model[:2000])


def _other_file(path: Path, model: bytes) -> None:
    path.write_text("# Not a model\n")


def _empty(path: Path, model: bytes) -> None:
    path.touch()


def _folder(path: Path, model: bytes) -> None:
    path.mkdir()


def _nothing(path: Path, model: bytes) -> None:
    pass


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (_truncated, "corrupted or incomplete"),
        (_cut_header, "failed to read"),
        (_other_file, "GGUF"),
        (_empty, "GGUF"),
        (_folder, "directory"),
        (_nothing, "No such file"),
    ],
)
async def test_a_model_that_cannot_be_read(tiny: Path, tmp_path: Path, damage: Any, reason: str) -> None:
    path = tmp_path / "broken.gguf"
    damage(path, await asyncio.to_thread(tiny.read_bytes))
    engine = Engine(EngineOptions(model=str(path)))
    try:
        answers = await asyncio.gather(ask(engine), ask(engine))
        assert engine.state == "failed"
        assert engine.info is None
        answers.append(await ask(engine))
        with pytest.raises(BackendError):
            await engine.ready()
        with pytest.raises(BackendError):
            engine.count_tokens("x")
    finally:
        await engine.aclose()
    for answer in answers:
        assert answer.error.code == "MODEL_LOAD"
        assert str(path) in answer.error.message
        assert reason in answer.error.message


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"kv_cells": 2**31 - 1}, "GiB of memory are free"),
        ({"kv_type": "q8_0", "flash_attention": "off"}, "flash attention off"),
    ],
)
async def test_a_context_that_cannot_be_made(tiny: Path, options: dict[str, Any], reason: str) -> None:
    engine = Engine(EngineOptions(model=str(tiny), **options))
    try:
        error = (await ask(engine)).error
    finally:
        await engine.aclose()
    assert error.code == "MODEL_LOAD"
    assert reason in error.message


async def test_a_chat_template_that_is_not_jinja(tmp_path: Path) -> None:
    engine = Engine(EngineOptions(model=str(write_model(tmp_path / "model.gguf", template="{% if %}"))))
    try:
        assert (await ask(engine)).error.code == "MODEL_LOAD"
    finally:
        await engine.aclose()


async def test_a_model_without_a_template_is_spoken_to_in_chatml(start: StartEngine, tmp_path: Path) -> None:
    engine = await start(model=str(write_model(tmp_path / "model.gguf", template=None)))
    with_template = await start()
    assert (await ask(engine)).text == (await ask(with_template)).text


async def test_a_template_that_refuses_the_messages_fails_that_request(start: StartEngine, tmp_path: Path) -> None:
    template = "{% if messages[0].content == '' %}{{ raise_exception('say something') }}{% endif %}x"
    engine = await start(model=str(write_model(tmp_path / "model.gguf", template=template)))
    bad, good = await asyncio.gather(ask(engine, ""), ask(engine))
    assert bad.error.code == "BAD_REQUEST"
    assert "say something" in bad.error.message
    assert good.done.finish_reason == "length"


async def test_without_llama_cpp_the_answer_says_how_to_get_it(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llama_cpp.llama_cpp", None)
    engine = Engine(EngineOptions(model=str(tiny)))
    try:
        answer = await ask(engine)
    finally:
        await engine.aclose()
    assert answer.error.code == "ENGINE_MISSING"
    assert "pip install llama-cpp-python" in answer.error.message


def test_importing_the_engine_imports_nothing_heavy() -> None:
    code = "import sys, backends.engine; print(*{'llama_cpp', 'numpy', 'jinja2', 'httpx'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize(
    "options",
    [{"n_ctx": -1}, {"max_streams": 0}, {"max_streams": 8, "n_batch": 4}, {"kv_type": "f8"}, {"n_context": 1}],
)
def test_options_are_checked(options: dict[str, Any]) -> None:
    import msgspec

    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"model": "m.gguf", **options}, EngineOptions)


@pytest.mark.parametrize(
    ("system", "mended", "crashes"),
    [(b"CPU : AVX2 = 1 | ", False, False), (b"CPU : AMX_INT8 = 1 | ", False, True), (b"AMX_INT8 = 1 | ", True, False)],
)
def test_weights_are_not_repacked_for_kernels_that_may_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: bytes, mended: bool, crashes: bool
) -> None:
    if mended:
        (tmp_path / MENDED).touch()
    monkeypatch.setenv("LLAMA_CPP_LIB_PATH", str(tmp_path))
    assert crashes_repacked(SimpleNamespace(llama_print_system_info=lambda: system)) is crashes


async def test_a_model_that_can_only_forget_whole_sequences_computes_them_again(
    start: StartEngine, slow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recurrent memories cannot drop the end of a sequence: after a failed step the neighbours start over."""
    engine = await start(model=str(slow), prefill_chunk=64)
    contents = ["pause", "refund " * 12]
    alone = [(await ask(engine, content, 30)).text for content in contents]
    remove, decode = Runner.remove, Runner.decode
    steps = 0

    def remove_all(self: Runner, slot: int, start: int) -> bool:
        remove(self, slot, 0)
        return start == 0

    def fails_at_times(self: Runner, jobs: list[Job]) -> int:
        nonlocal steps
        steps += 1
        return ABORTED if steps % 7 == 0 else decode(self, jobs)

    monkeypatch.setattr(Runner, "remove", remove_all)
    monkeypatch.setattr(Runner, "decode", fails_at_times)
    answers = await asyncio.gather(*(ask(engine, content, 30) for content in contents))
    assert [answer.text for answer in answers] == alone
    assert steps > 14


async def test_a_request_that_llama_cpp_refuses_fails_alone(
    start: StartEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One prompt holds a token id that does not exist: llama_decode refuses the whole batch with -1."""
    tokenize = Runner.tokenize

    def poisoned(self: Runner, text: str, special: bool, inner: bool = False) -> list[int]:
        return [10**6] if text == "poison" else tokenize(self, text, special, inner)

    monkeypatch.setattr(Runner, "tokenize", poisoned)
    engine = await start(prefill_chunk=64)
    contents = ["pause", "refund " * 30]
    alone = [(await ask(engine, content, 30)).text for content in contents]
    *good, bad = await asyncio.gather(*(ask(engine, content, 30) for content in contents), ask(engine, "poison"))
    assert [answer.text for answer in good] == alone
    assert bad.error.code == "INTERNAL"
    assert "-1" in bad.error.message
    assert (await ask(engine, "pause", 30)).text == alone[0]


async def test_without_free_cells_a_step_is_tried_in_parts(start: StartEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our account keeps this from happening, so the cells are taken behind its back."""
    engine = await start(max_streams=4, kv_cells=512)
    steps = engine._steps
    assert steps is not None
    monkeypatch.setattr(steps, "check", lambda: None)
    original = Running.start

    def crowded(self: Running, sequence: Any) -> None:
        original(self, sequence)
        if sequence.prompt_tokens > 100:
            filler = Job(3, 0, [10] * (512 - 60), 0)
            assert self._runner.decode([filler]) == 0

    monkeypatch.setattr(Running, "start", crowded)
    small, large = await asyncio.gather(ask(engine, "pause", 10), ask(engine, "1" * 120, 10))
    assert large.error.code == "INTERNAL"
    assert small.done.finish_reason == "length"


async def test_the_death_of_the_loop_is_told_to_everybody(start: StartEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = await start(max_streams=1)
    calls = 0
    original = Stepper._advance

    def dies(self: Stepper, *arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 20:
            raise RuntimeError("a defect")
        original(self, *arguments)

    monkeypatch.setattr(Stepper, "_advance", dies)
    answers = await asyncio.gather(*(ask(engine, max_tokens=100) for _ in range(3)))
    answers.append(await ask(engine))
    assert {answer.error.code for answer in answers} == {"INTERNAL"}
    assert all("a defect" in answer.error.message for answer in answers)
    with pytest.raises(BackendError):
        await engine.ready()
    assert engine.state == "failed"


async def test_a_defect_while_taking_requests_in_is_told_to_them(
    start: StartEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await start()

    def dies(self: Runner, draw: Any) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(Runner, "make_sampler", dies)
    answers = await asyncio.gather(*(ask(engine) for _ in range(3)))
    assert {answer.error.code for answer in answers} == {"INTERNAL"}


async def test_shutting_down_ends_running_and_waiting_streams(start: StartEngine) -> None:
    engine = await start(max_streams=1)
    running = engine.stream(request(max_tokens=480))
    async for event in running:
        if isinstance(event, Token):
            break
    waiting = asyncio.create_task(ask(engine))
    while not waiting.done():
        await asyncio.sleep(0)
        if engine._steps is not None and engine._steps._queue:
            break
    await engine.aclose()
    assert (await read(running)).error.code == "SHUTDOWN"
    assert (await waiting).error.code == "SHUTDOWN"
    assert (await ask(engine)).error.code == "SHUTDOWN"
    assert engine.state == "closed"
    assert engine.info is None
    with pytest.raises(BackendError):
        engine.count_tokens("x")
    await engine.aclose()


async def test_shutting_down_in_a_long_prefill_does_not_wait_for_it(start: StartEngine, slow: Path) -> None:
    engine = await start(model=str(slow), prefill_chunk=4000, n_batch=4096)
    stream = engine.stream(request("refund " * 1500, 10))
    await anext(stream)
    await engine.aclose()
    assert (await read(stream)).error.code == "SHUTDOWN"


async def test_shutting_down_while_loading(tiny: Path) -> None:
    engine = Engine(EngineOptions(model=str(tiny)))
    answers = asyncio.gather(ask(engine), ask(engine))
    await asyncio.sleep(0)
    await engine.aclose()
    assert {answer.error.code for answer in await answers} == {"SHUTDOWN"}


async def test_shutting_down_just_before_the_loop_begins(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`aclose` looks for a loop to close while the thread is about to make it."""
    engine = Engine(EngineOptions(model=str(tiny)))

    def closing_meanwhile(*arguments: str) -> ChatTemplate:
        engine._closing.set()
        return ChatTemplate(*arguments)

    monkeypatch.setattr("backends.engine.template.ChatTemplate", closing_meanwhile)
    await engine.start()
    assert engine._thread is not None
    await asyncio.to_thread(engine._thread.join, 60)
    assert not engine._thread.is_alive()
    await engine.aclose()


async def test_an_engine_that_was_never_used_closes(tiny: Path) -> None:
    engine = Engine(EngineOptions(model=str(tiny)))
    await engine.aclose()
    assert (await ask(engine)).error.code == "SHUTDOWN"
