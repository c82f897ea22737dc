"""What NVIDIA's driver says about the GPUs, through nvidia-ml-py where it is there (``pip install llmchat[gpu]``)."""

from __future__ import annotations

from typing import Any

import msgspec


class Gpu(msgspec.Struct, frozen=True):
    """A GPU; memory in bytes."""

    name: str
    total: int
    free: int


def gpus() -> list[Gpu]:
    """All of them; none where there is no NVIDIA driver, or nvidia-ml-py is not installed."""
    try:
        import pynvml
    except ImportError:
        return []
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        return [_gpu(pynvml, index) for index in range(pynvml.nvmlDeviceGetCount())]
    finally:
        pynvml.nvmlShutdown()


def _gpu(nvml: Any, index: int) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    name, memory = nvml.nvmlDeviceGetName(handle), nvml.nvmlDeviceGetMemoryInfo(handle)
    return Gpu(name.decode() if isinstance(name, bytes) else name, int(memory.total), int(memory.free))
