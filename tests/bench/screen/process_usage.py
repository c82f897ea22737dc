"""CPU time and memory of a running process, from Linux's /proc."""

from __future__ import annotations

import os
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


def available() -> bool:
    """Whether this system has what is read here."""
    return Path("/proc/self/stat").exists()


def cpu_seconds(pid: int) -> float:
    """User and system time of the process and of its children that have ended, in steps of 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / _TICK


def peak_megabytes(pid: int) -> float:
    """The largest resident set that the process has had, in units of 1,000,000 bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    kibibytes = next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]
    return int(kibibytes) * 1024 / 1e6
