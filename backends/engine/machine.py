"""What the machine offers: cores and memory."""

from __future__ import annotations

import os
from pathlib import Path

BYTES_PER_THREAD = 16 << 20


def physical_cores() -> int:
    """Cores this process may use, hyper-threads not counted: two of them on one core slow each other in matrix work."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    cores = set()
    for cpu in allowed:
        siblings = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        try:
            cores.add(siblings.read_text())
        except OSError:  # not Linux, or hidden in a container
            return len(allowed)
    return max(1, len(cores))


def threads_for(model_bytes: int, cores: int) -> int:
    """How many threads to compute with when nobody said: all cores, but one for every 16 MiB of weights at most.

    Threads meet after every operation, spinning. A small model spends more on meeting than it gains; where another
    process has a core, they spin for whole time slices (measured on 2 busy cores, 5M parameters: 15 tokens a second
    with two threads, 340 with one).
    """
    return max(1, min(cores, model_bytes // BYTES_PER_THREAD))


def available_memory() -> int | None:
    """Bytes of memory that can be had without swapping, within the limit of a container; None where it is not told."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return None
    group = Path("/sys/fs/cgroup")
    try:
        return min(free, int((group / "memory.max").read_text()) - int((group / "memory.current").read_text()))
    except (OSError, ValueError):  # no such limit ("max"), or an older hierarchy
        return free
