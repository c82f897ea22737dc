"""What the KV cache costs, and how large it is made."""

from __future__ import annotations

import pytest

from backends.engine.kv_cache import bytes_per_token, plan
from backends.engine.options import EngineOptions


def test_bytes_per_token_of_the_known_example() -> None:
    """80 layers x 64 heads x 128 in fp16: 2.6 MB a token; 4,096 tokens x 32 streams: about 341 GB."""
    token = bytes_per_token(80, 64, 128)
    assert token == 2_621_440
    assert token * 4096 * 32 / 1e9 == pytest.approx(343.6, abs=0.1)
    assert token * 4096 * 32 / 2**30 == 320


def test_grouped_query_heads_and_quantized_cells_are_cheaper() -> None:
    assert bytes_per_token(80, 8, 128) == 2_621_440 // 8
    assert bytes_per_token(32, 8, 128, "q8_0") == 2 * 32 * 8 * 128 * 34 // 32
    assert bytes_per_token(32, 8, 128, "f32") == 2 * bytes_per_token(32, 8, 128, "f16")


GIB = 1 << 30


@pytest.mark.parametrize(
    ("options", "trained", "token_bytes", "memory", "expected"),
    [
        ({}, 2048, 2_000, 8 * GIB, (2048, 8192)),  # a small model: a context for every stream
        ({}, 2048, 2_000, None, (2048, 8192)),  # on a GPU, say
        ({}, 131_072, 131_072, 64 * GIB, (131_072, 131_072)),  # a large context: one, however many streams
        ({}, 131_072, 131_072, 8 * GIB, (32_768, 32_768)),  # as much of it as half of the memory holds
        ({}, 131_072, 131_072, None, (131_072, 131_072)),
        ({}, 4096, GIB // 8192, 64 * GIB, (4096, 8192)),  # further streams as far as a GiB goes
        ({"n_ctx": 8192}, 4096, 1000, 8 * GIB, (8192, 32_768)),  # what was asked for is taken as it is
        ({"n_ctx": 4096, "kv_cells": 5000}, 8192, 1000, GIB, (4096, 5000)),
        ({"kv_cells": 1000}, 8192, 1000, GIB, (1000, 1000)),
        ({"kv_cells": 20_000}, 8192, 1000, GIB, (8192, 20_000)),
        ({"max_streams": 2}, 512, 0, 8 * GIB, (512, 1024)),  # a model without a KV cache
    ],
)
def test_context_and_cells_are_chosen_by_what_they_cost(
    options: dict[str, int], trained: int, token_bytes: int, memory: int | None, expected: tuple[int, int]
) -> None:
    assert plan(EngineOptions(model="m.gguf", **options), trained, token_bytes, memory) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{"n_ctx": 100_000}, {"kv_cells": 100_000}, {}])
def test_a_cache_larger_than_the_memory_is_refused_with_the_numbers(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"takes .* GiB, but 0\.0 GiB of memory are free"):
        plan(EngineOptions(model="m.gguf", **options), 4096, 131_072, 50 << 20)  # type: ignore[arg-type]
