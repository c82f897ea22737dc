"""What NVIDIA's driver says about the GPUs, through nvidia-ml-py where it is there (``pip install llmchat[gpu]``)."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import msgspec


class Gpu(msgspec.Struct, frozen=True):
    """A GPU; memory in bytes."""

    name: str
    total: int
    free: int


class Memory(NamedTuple):
    """Of all GPUs together, in bytes: what anybody holds, and what there is."""

    used: int
    total: int


def gpus() -> list[Gpu]:
    """All of them; none where there is no NVIDIA driver, or nvidia-ml-py is not installed."""
    driver = _driver()
    return [] if driver is None else [_gpu(driver, index) for index in range(driver.nvmlDeviceGetCount())]


def memory() -> Memory | None:
    """What is in use now: a matter of microseconds, after the first time. None where there are no `gpus`."""
    found = gpus()
    return Memory(sum(gpu.total - gpu.free for gpu in found), sum(gpu.total for gpu in found)) if found else None


@functools.cache
def _driver() -> Any:
    """NVML, ready to be asked until the process ends; None where there is none."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml


def _gpu(nvml: Any, index: int) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    name, memory = nvml.nvmlDeviceGetName(handle), nvml.nvmlDeviceGetMemoryInfo(handle)
    return Gpu(name.decode() if isinstance(name, bytes) else name, int(memory.total), int(memory.free))
