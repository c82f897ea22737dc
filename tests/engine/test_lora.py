"""LoRA adapters: they change every answer by as much as they are to count, and a wrong one is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from backends.engine.load import load
from backends.engine.options import EngineOptions
from backends.errors import BackendError, Code
from tests.engine.answers import ask
from tests.engine.conftest import StartEngine
from tests.fakes.gguf_lora import write_lora


async def test_an_adapter_counts_as_strongly_as_it_is_to(start: StartEngine, tmp_path: Path) -> None:
    path = str(write_lora(tmp_path / "adapter.gguf"))
    plain = (await ask(await start())).text
    changed = (await ask(await start(lora=((path, 1.0),)))).text
    assert changed != plain
    assert (await ask(await start(lora=((path, 0.0),)))).text == plain
    assert (await ask(await start(lora=((path, 0.25), (path, 0.75))))).text == changed


@pytest.mark.parametrize(
    ("adapter", "reason"),
    [("none.gguf", "Check the path"), ("wide.gguf", "wrong base model"), ("tiny.gguf", "adapter")],
)
def test_what_is_no_adapter_of_this_model_is_refused(tiny: Path, tmp_path: Path, adapter: str, reason: str) -> None:
    write_lora(tmp_path / "wide.gguf", width=128)
    (tmp_path / "tiny.gguf").write_bytes(tiny.read_bytes())
    options = EngineOptions(model=str(tiny), lora=((str(tmp_path / adapter), 1.0),))
    with pytest.raises(BackendError, match=reason) as caught:
        load(options, lambda _part: True, 0)
    assert caught.value.code == Code.MODEL_LOAD
    assert adapter in caught.value.message


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("mlock", [True, False])
async def test_however_the_weights_are_held_they_are_the_same(start: StartEngine, mmap: bool, mlock: bool) -> None:
    engine = await start(mmap=mmap, mlock=mlock, split_mode="none")
    assert (await ask(engine)).text == (await ask(await start())).text
