"""CPU time and memory of a running process, from Linux's /proc."""

from __future__ import annotations

import time
from pathlib import Path

_PER_PROCESS_SCHED = 2
"""Of a CPU clock's number: the scheduler's own account, in nanoseconds (Linux, include/linux/posix-timers.h)."""


def available() -> bool:
    """Whether this system has what is read here."""
    return Path("/proc/self/stat").exists()


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads of the process, those that have ended included."""
    return time.clock_gettime(~pid << 3 | _PER_PROCESS_SCHED)


def peak_megabytes(pid: int) -> float:
    """The largest resident set that the process has had, in units of 1,000,000 bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    kibibytes = next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]
    return int(kibibytes) * 1024 / 1e6
