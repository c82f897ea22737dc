"""`llmchat bench`: load on any backend, and `llmchat bench compare`: two of its results beside each other."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
from pathlib import Path
from typing import Any, cast, get_args

import msgspec

from backends import providers
from backends.backend import Feature
from backends.bench import comparison
from backends.bench.load_record import LoadRecord, read_record
from backends.bench.load_report import as_csv, report
from backends.bench.sweep import Extent, Level, Measured, levels, sweep
from backends.bench.workload import Lengths, Workload, read_prompts
from backends.config import ConfigFile
from backends.errors import BackendError, Code
from tui import log_file
from tui.commands.bench_plots import plotter
from tui.commands.bench_progress import Progress
from tui.exit_codes import ExitCode
from tui.target import Target

_NOT_LOAD = ("plot", "json", "csv")
"""Options that say where results go."""


class LoadRequest(msgspec.Struct, frozen=True):
    """The options of `llmchat bench`, as given."""

    prompt: str
    output: str
    concurrency: str
    rate: str
    count: int | None
    duration: float | None
    warm_up: int
    shared_prefix: int
    shared_share: float
    prompts: Path | None
    temperature: float
    feature: str
    seed: int
    plot: bool
    json: Path | None
    csv: Path | None


def load(target: Target, asked: LoadRequest) -> ExitCode:
    """Put load on the target and print the tables. Raises BackendError for wrong usage."""
    file = target.load()
    workload = _workload(asked)
    wanted = levels(asked.concurrency, asked.rate)
    extent = Extent(asked.count, asked.duration, asked.warm_up)
    draw = plotter(wanted) if asked.plot else None
    for path in filter(None, (asked.json, asked.csv)):
        _writable(path)
    log_file.start()
    measured = asyncio.run(_measure(file, workload, wanted, extent))
    print(f"{file.config.backend}, seed {asked.seed}: {report(measured)}")
    if draw is not None:
        print(f"\n{draw(measured, min(110, shutil.get_terminal_size((100, 24)).columns))}")
    if asked.json is not None:
        LoadRecord(file.config.backend, _options(asked, target), tuple(measured)).save(asked.json)
    if asked.csv is not None:
        asked.csv.write_text(as_csv(measured), "utf-8")
    return ExitCode.COMPLETE if all(one.summary.answered for one in measured) else ExitCode.FAILED


def compare(one: Path, other: Path) -> ExitCode:
    """Print the comparison of two records. Raises BackendError where they are none, or have no load in common."""
    a, b = read_record(one), read_record(other)
    compared = comparison.compare(a, b)
    if not compared:
        raise BackendError(Code.CONFIG, f"{one} and {other} have no load in common")
    for name, path, record in (("A", one, a), ("B", other, b)):
        print(f"{name}  {path}: {record.backend}, {record.machine.get('date', 'of an unknown time')}")
    for difference in comparison.differences(a, b):
        print(f"   not the same load: {difference}")
    print(f"\n{comparison.table(compared)}")
    return ExitCode.COMPLETE


def _workload(asked: LoadRequest) -> Workload:
    return Workload(
        Lengths.parse(asked.prompt),
        Lengths.parse(asked.output),
        asked.shared_prefix,
        asked.shared_share,
        read_prompts(asked.prompts) if asked.prompts else (),
        temperature=asked.temperature,
        feature=_feature(asked.feature),
        seed=asked.seed,
    )


def _feature(name: str) -> Feature:
    """`name`, if it is a feature's. Raises BackendError."""
    if name in get_args(Feature):
        return cast(Feature, name)
    raise BackendError(Code.CONFIG, f"--feature {name}: one of {', '.join(get_args(Feature))}")


def _writable(path: Path) -> None:
    """Better now than after an hour of measuring. Raises BackendError."""
    try:
        path.open("a").close()
    except OSError as error:
        raise BackendError(Code.CONFIG, f"{path}: cannot be written: {error.strerror}") from None


def _options(asked: LoadRequest, target: Target) -> dict[str, Any]:
    options: dict[str, Any] = msgspec.to_builtins(asked, enc_hook=str)
    return {name: value for name, value in options.items() if name not in _NOT_LOAD} | {"model": target.model}


async def _measure(file: ConfigFile, workload: Workload, wanted: tuple[Level, ...], extent: Extent) -> list[Measured]:
    budget = file.config.budget(workload.feature)
    async with contextlib.aclosing(providers.open_backend(file)) as backend:
        with Progress(sys.stderr) as progress:
            return await sweep(backend, workload, wanted, extent, budget, progress.begin, progress.take)
