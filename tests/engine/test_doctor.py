"""What fits, and the head of a GGUF."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from backends.demo import MODEL
from backends.engine import gpu_memory
from backends.engine.doctor import Measures, fits, measure, measures
from backends.engine.gguf_header import read_header
from backends.engine.gpu_memory import gpus
from backends.errors import BackendError
from tests.fakes.gguf_model import write_model

LARGE = Measures("70B", 0, 80, 64, (64,) * 80, 128, 4096)


def test_the_known_example() -> None:
    """80 layers x 64 heads x 128 x fp16 are 2.6 MB a token; 32 conversations of 4,096 tokens take 341 GB."""
    assert LARGE.token_bytes("f16") == 2_621_440
    assert 4096 * 32 * LARGE.token_bytes("f16") == pytest.approx(341e9, rel=0.01)
    streams = {fit.context: fit.streams for fit in fits(LARGE, round(344e9 / 0.9)) if fit.kv_type == "f16"}
    assert streams == {2048: 64, 4096: 32}


def test_grouped_query_heads_and_quantized_caches_hold_more() -> None:
    grouped = Measures("70B", 0, 80, 64, (8,) * 80, 128, 4096)
    assert grouped.token_bytes("f16") * 8 == LARGE.token_bytes("f16")
    assert grouped.token_bytes("q8_0") / grouped.token_bytes("f16") == pytest.approx(17 / 32)


def test_weights_take_their_room_first_and_what_does_not_fit_is_no_stream() -> None:
    model = Measures("large", 30 << 30, 80, 64, (8,) * 80, 128, 0)
    assert all(fit.streams == 0 for fit in fits(model, 24 << 30))
    assert fits(model, 48 << 30)[0].streams > 0


def test_a_file_is_measured_without_llama_cpp(tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.gguf", layers=3, width=64, heads=4, kv_heads=2, context=512)
    found = measure(path)
    assert (found.layers, found.heads, found.kv_heads, found.head_dim) == (3, 4, (2, 2, 2), 16)
    assert (found.n_ctx_train, found.size) == (512, path.stat().st_size)
    assert "tokenizer.ggml.tokens" not in read_header(path)
    assert measure(MODEL).n_ctx_train == read_header(MODEL)["llama.context_length"]


def test_layers_may_differ_and_heads_may_be_wider_than_their_share() -> None:
    metadata = {
        "general.architecture": "a",
        "a.block_count": 3,
        "a.attention.head_count": [8, 8, 4],
        "a.attention.head_count_kv": [4, 0, 2],
        "a.attention.key_length": 96,
        "a.attention.value_length": 64,
        "a.embedding_length": 512,
    }
    found = measures(metadata, "mixed", 0)
    assert (found.kv_heads, found.heads, found.head_dim) == ((4, 0, 2), 8, 80)
    assert found.token_bytes("f16") == 2 * 6 * 80 * 2


@pytest.mark.parametrize("content", [b"", b"GGUF", b"GGUF" + bytes(20), b"not a model at all, but long enough"])
def test_what_is_no_gguf_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(content)
    with pytest.raises(BackendError, match=r"m\.gguf: cannot be read"):
        read_header(path)


def test_a_damaged_head_is_no_reason_to_read_for_ever(tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.gguf")
    path.write_bytes(path.read_bytes()[:24] + b"\xff" * 64)
    with pytest.raises(BackendError, match="cannot be read"):
        read_header(path)


def test_the_memory_of_all_gpus_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """NVML as nvidia-ml-py offers it, of two cards."""
    cards = [("A", 24, 20), (b"B", 16, 6)]
    nvml = SimpleNamespace(
        NVMLError=OSError,
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: len(cards),
        nvmlDeviceGetHandleByIndex=lambda index: cards[index],
        nvmlDeviceGetName=lambda card: card[0],
        nvmlDeviceGetMemoryInfo=lambda card: SimpleNamespace(total=card[1] << 30, free=card[2] << 30),
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    gpu_memory._driver.cache_clear()
    assert gpu_memory.memory() == (14 << 30, 40 << 30)
    assert [gpu.name for gpu in gpus()] == ["A", "B"]
    gpu_memory._driver.cache_clear()


def test_a_machine_without_nvidia_has_no_gpus_or_says_which() -> None:
    assert all(gpu.total >= gpu.free > 0 for gpu in gpus())
