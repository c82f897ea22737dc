"""A service as a child process, and what processes hold."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen


@dataclass(frozen=True)
class Use:
    """What processes hold: resident memory in MiB, open descriptors, threads."""

    mib: float
    descriptors: int
    threads: int


def use_of(pid: int) -> Use:
    """Of process `pid` and all that it started."""
    mib, descriptors, threads = 0.0, 0, 0
    for each in _family(pid):
        folder = Path("/proc") / str(each)
        try:
            resident = int((folder / "statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
            descriptors += len(list((folder / "fd").iterdir()))
            threads += len(list((folder / "task").iterdir()))
            mib += resident / 2**20
        except OSError:
            continue  # it ended meanwhile
    return Use(mib, descriptors, threads)


def _family(pid: int) -> list[int]:
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
    family = [pid]
    for each in family:
        family += [child for child, parent in parents.items() if parent == each]
    return family


@contextmanager
def serving(folder: Path, config: str) -> Iterator[tuple[int, int]]:
    """The port and the process of a service that is ready, with `config` (TOML); all that it writes is in `folder`."""
    path = folder / "config.toml"
    path.write_text(config)
    environment = os.environ | {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "XDG_CACHE_HOME": str(folder)}
    command = [sys.executable, "-m", "tui", "serve", "--config", str(path), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline()
            port = int(re.findall(r":(\d+) ", address)[0])
            _wait_until_ready(port)
            yield port, process.pid
        finally:
            process.terminate()


def streams_left(port: int) -> dict[str, int]:
    """The streams of the service on `port`, by state."""
    with urlopen(f"http://127.0.0.1:{port}/metrics") as page:
        states = re.findall(r'llmchat_streams\{state="(\w+)"\} (\d+)', page.read().decode())
    return {state: int(count) for state, count in states}


def _wait_until_ready(port: int) -> None:
    while True:
        try:
            with urlopen(f"http://127.0.0.1:{port}/readyz") as answer:
                if json.load(answer)["status"] == "ready":
                    return
        except OSError:
            time.sleep(0.1)
