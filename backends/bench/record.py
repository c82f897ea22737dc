"""What has been measured so far: kept in a JSON file after every sample, so that a run can be cut into pieces."""

from __future__ import annotations

import os
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

from backends.errors import BackendError, Code

Samples = dict[str, dict[str, dict[str, list[dict[str, float]]]]]


class Record(msgspec.Struct):
    """`samples`: by model, entry and contender, in order. `machine`: where; `loads`: how busy it was, by entry."""

    machine: dict[str, str]
    samples: Samples = msgspec.field(default_factory=dict)
    loads: dict[str, list[float]] = msgspec.field(default_factory=dict)

    def of(self, model: str, entry: str, contender: str) -> list[dict[str, float]]:
        """The samples of one contender, to read or to add to."""
        return self.samples.setdefault(model, {}).setdefault(entry, {}).setdefault(contender, [])

    def values(self, model: str, entry: str, operand: str, key: str) -> list[float]:
        """The values of `operand`: a contender, or a quotient "a / b" of two, sample by sample."""
        if " / " in operand:
            above, below = (self.values(model, entry, part, key) for part in operand.split(" / "))
            return [one / other for one, other in zip(above, below, strict=False)]
        found = self.samples.get(model, {}).get(entry, {}).get(operand, [])
        return [sample[key] for sample in found if key in sample]

    def save(self, path: Path) -> None:
        """Write it. Raises OSError."""
        partial = path.with_suffix(path.suffix + ".part")
        partial.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1))
        partial.replace(path)


def open_record(path: Path | None) -> Record:
    """The record at `path`, or a new one. Raises BackendError when the file is something else."""
    if path is None or not path.exists():
        return Record(machine())
    try:
        return msgspec.json.decode(path.read_bytes(), type=Record)
    except (OSError, msgspec.DecodeError) as error:
        raise BackendError(Code.CONFIG, f"{path}: not a record of this benchmark: {error}") from None


def machine() -> dict[str, str]:
    """What the numbers depend on."""
    return {
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "python": platform.python_version(),
        "llama-cpp-python": _version("llama-cpp-python"),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed as a package"
