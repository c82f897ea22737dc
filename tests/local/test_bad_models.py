"""What cannot be loaded: the answer is the reason, and a mended file is picked up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from backends.engine.options import EngineOptions
from backends.errors import Code
from backends.events import Done, Error
from backends.local.spec import Spec
from backends.providers.local import Local
from tests.local.talk import answer

OpenLocal = Callable[..., Local]


async def failure(local: Local) -> Error:
    last = (await answer(local))[-1]
    assert isinstance(last, Error)
    return last


async def test_a_missing_file(open_local: OpenLocal, tmp_path: Path) -> None:
    error = await failure(open_local(Spec(EngineOptions(model=str(tmp_path / "absent.gguf")))))
    assert error.code == Code.MODEL_LOAD
    assert "absent.gguf" in error.message
    assert "No such file" in error.message


async def test_a_folder(open_local: OpenLocal, tmp_path: Path) -> None:
    error = await failure(open_local(Spec(EngineOptions(model=str(tmp_path)))))
    assert error.code == Code.MODEL_LOAD
    assert "not a file" in error.message


@pytest.mark.parametrize("kept", [0, 3, 20_000])
async def test_a_damaged_file_and_its_repair(open_local: OpenLocal, model: Path, tmp_path: Path, kept: int) -> None:
    damaged = tmp_path / "damaged.gguf"
    write(damaged, contents(model)[:kept] or b"this is not a model")
    local = open_local(Spec(EngineOptions(model=str(damaged), n_threads=1)))
    for _ in range(2):  # the second time too: no "connection refused", no half-dead engine
        error = await failure(local)
        assert error.code == Code.MODEL_LOAD, error
        assert "damaged.gguf" in error.message
    write(damaged, contents(model))
    assert isinstance((await answer(local))[-1], Done)


async def test_an_impossible_setting(open_local: OpenLocal, spec: Spec) -> None:
    engine = msgspec.structs.replace(spec.engine, kv_type="q8_0", flash_attention="off")
    error = await failure(open_local(msgspec.structs.replace(spec, engine=engine)))
    assert error.code in (Code.MODEL_LOAD, Code.CONFIG, Code.BAD_REQUEST)
    assert "died" not in error.message


async def test_llama_cpp_is_not_installed(
    open_local: OpenLocal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "llama_cpp").mkdir()
    (tmp_path / "llama_cpp" / "__init__.py").write_text("raise ImportError('no such library')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    error = await failure(open_local())
    assert error.code == Code.ENGINE_MISSING
    assert "llama-cpp-python" in error.message


def contents(path: Path) -> bytes:
    return path.read_bytes()


def write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
