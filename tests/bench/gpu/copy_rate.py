"""The rate at which memory is copied: what decoding is held against, since every token reads all weights once."""

from __future__ import annotations

import ctypes
import ctypes.util
import time
from pathlib import Path

import numpy as np

_DEVICE_TO_DEVICE = 3  # cudaMemcpyDeviceToDevice
_ROUNDS = 20


def gpu_copy_rate(size: int = 2 << 30) -> float:
    """Bytes read and written a second when `size` bytes are copied within the GPU. Raises OSError."""
    found = sorted(Path("/usr/local").glob("cuda*/lib64/libcudart.so*"))
    cuda = ctypes.CDLL(ctypes.util.find_library("cudart") or (str(found[-1]) if found else "libcudart.so"))
    buffers = [ctypes.c_void_p() for _ in range(2)]
    for buffer in buffers:
        _check(cuda.cudaMalloc(ctypes.byref(buffer), ctypes.c_size_t(size)))
    try:
        seconds = []
        for _ in range(_ROUNDS):
            begun = time.perf_counter()
            _check(cuda.cudaMemcpy(buffers[0], buffers[1], ctypes.c_size_t(size), _DEVICE_TO_DEVICE))
            _check(cuda.cudaDeviceSynchronize())
            seconds.append(time.perf_counter() - begun)
        return 2 * size / min(seconds)
    finally:
        for buffer in buffers:
            cuda.cudaFree(buffer)


def cpu_copy_rate(size: int = 256 << 20) -> float:
    """The same in main memory, by one thread."""
    source, target = np.ones(size, np.uint8), np.zeros(size, np.uint8)
    seconds = []
    for _ in range(5):
        begun = time.perf_counter()
        np.copyto(target, source)
        seconds.append(time.perf_counter() - begun)
    return 2 * size / min(seconds)


def _check(code: int) -> None:
    if code:
        raise OSError(f"CUDA returned error {code}")
