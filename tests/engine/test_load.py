"""What is decided while loading, from the options and the machine."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from backends.engine.load import _flash_attention, _residency
from backends.engine.options import EngineOptions


def library(gpu: bool = False, recurrent: bool = False, hybrid: bool = False, window: int = 0, heads: int = 8) -> Any:
    """The questions that llama.cpp is asked."""
    return SimpleNamespace(
        llama_supports_gpu_offload=lambda: gpu,
        llama_model_is_recurrent=lambda model: recurrent,
        llama_model_is_hybrid=lambda model: hybrid,
        llama_model_n_swa=lambda model: window,
        llama_model_n_head=lambda model: heads,
    )


@pytest.mark.parametrize(
    ("options", "machine", "expected"),
    [
        ({}, {}, "host"),
        ({}, {"gpu": True}, "device"),
        ({"n_gpu_layers": 0}, {"gpu": True}, "host"),
        ({"kv_residency": "device"}, {}, "device"),
        ({"kv_residency": "host"}, {"gpu": True}, "host"),
        ({"kv_residency": "none"}, {"gpu": True}, "none"),
        ({"kv_residency": "device"}, {"recurrent": True}, "none"),
        ({}, {"hybrid": True}, "none"),
        ({"kv_residency": "host"}, {"window": 1024}, "none"),
    ],
)
def test_where_prefixes_are_kept(options: Any, machine: Any, expected: str) -> None:
    assert _residency(library(**machine), None, EngineOptions(model="m.gguf", **options)) == expected


@pytest.mark.parametrize(
    ("options", "machine", "cells", "expected"),
    [
        ({}, {}, 8192, "off"),
        ({}, {"heads": 32}, 8192, "off"),  # 512 MiB of scores
        ({}, {"heads": 32}, 8193, "auto"),
        ({"n_ubatch": 256}, {"heads": 32}, 8193, "off"),
        ({}, {"gpu": True}, 8192, "auto"),
        ({"n_gpu_layers": 0}, {"gpu": True}, 8192, "off"),
        ({"kv_type": "q8_0"}, {}, 8192, "auto"),
        ({"flash_attention": "on"}, {}, 8192, "on"),
        ({"objective": "throughput"}, {}, 8192, "auto"),
        ({"objective": "throughput", "flash_attention": "off"}, {}, 8192, "off"),
        ({"objective": "throughput", "max_streams": 1}, {}, 8192, "off"),
    ],
)
def test_flash_attention_is_left_out_where_it_slows(options: Any, machine: Any, cells: int, expected: str) -> None:
    assert _flash_attention(library(**machine), None, EngineOptions(model="m.gguf", **options), cells) == expected
