"""The measuring part of `tests.bench.gpu`: run by it, in an environment where our llama.cpp is the one just built."""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
from pathlib import Path

from backends.bench.engine import Bench, Measuring, Subject
from backends.bench.models import Shape, make
from backends.bench.record import Record, open_record
from backends.bench.report import markdown
from backends.bench.statistics import median
from backends.bench.suite import OURS, Setup
from backends.engine.doctor import measure as measures_of
from backends.engine.library import load_library
from tests.bench.gpu.copy_rate import cpu_copy_rate, gpu_copy_rate
from tests.bench.gpu.suite import LARGE, TINY, Size, setups, speculation

AGAIN = 3


def main() -> int:
    """Measure for as long as there is time, print the table. 0: all is done; AGAIN: not yet."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("rival", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--for", dest="seconds", type=float, required=True)
    parser.add_argument("--cpu", action="store_true")
    parser.add_argument("--tiny", action="store_true")
    asked = parser.parse_args()
    size = TINY if asked.tiny else LARGE
    record = open_record(asked.json)
    if not asked.cpu and not load_library().llama_supports_gpu_offload():
        print("this llama.cpp was built without a GPU", file=sys.stderr)
        return 1
    _describe(record, asked.cpu)
    bench = Bench(asked.folder, asked.rival, asked.seconds, 0.2 if asked.tiny else 1.0)
    measuring = Measuring(bench, record, lambda: record.save(asked.json))
    asyncio.run(_all(measuring, size, asked.folder))
    record.save(asked.json)
    print(f"\n{_machine(record)}\n\n{markdown(record, _plan(size))}\n\n{_limits(record, size, asked.folder)}")
    if not measuring.in_time:
        print("\nNot all is measured yet: call again.")
        return AGAIN
    return 0


def _plan(size: Size) -> list[tuple[str, list[Setup]]]:
    return [*((shape.name, setups(size)) for shape in size.shapes), ("drafts", speculation(size))]


async def _all(measuring: Measuring, size: Size, folder: Path) -> None:
    by_name = {shape.name: shape for shape in size.shapes}
    for name, wanted in _plan(size):
        if measuring.in_time:
            path = make(by_name.get(name, size.shapes[0]), folder)
            await measuring.measure(Subject(name, path, size.scale), wanted)


def _describe(record: Record, cpu: bool) -> None:
    """Put the card, its driver and its copy rate into the record. Raises CalledProcessError, OSError."""
    if "copy rate" in record.machine:
        return
    if not cpu:
        query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
        record.machine["gpu, driver, memory"] = subprocess.run(
            query, check=True, capture_output=True, text=True
        ).stdout.splitlines()[0]
    record.machine["copy rate"] = f"{(cpu_copy_rate() if cpu else gpu_copy_rate()) / 1e9:.1f} GB/s"


def _machine(record: Record) -> str:
    return ", ".join(f"{name}: {value}" for name, value in record.machine.items())


def _limits(record: Record, size: Size, folder: Path) -> str:
    """Decoding against what the copy rate allows: all weights but the embedding are read for every token."""
    rate = float(record.machine["copy rate"].split()[0]) * 1e9
    lines = []
    for shape in size.shapes:
        speeds = record.values(shape.name, "decode", OURS, "tok/s")
        if speeds:
            read = _bytes_read(make(shape, folder), shape)
            lines.append(
                f"{shape.name}: {median(speeds):.1f} tok/s of the {rate / read:.1f} that {rate / 1e9:.0f} GB/s allow: "
                f"{median(speeds) * read / rate:.0%} of the bandwidth limit"
            )
    return "\n".join(lines)


def _bytes_read(path: Path, shape: Shape) -> float:
    """Bytes of weights read for a token: the embedding table is looked up in one row only."""
    embedding = shape.vocab * shape.width / shape.parameters
    return measures_of(path).size * (1 - embedding)


if __name__ == "__main__":
    sys.exit(main())
