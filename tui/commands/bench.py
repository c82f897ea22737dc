"""`llmchat bench`: load on any backend, and `llmchat bench engine`: our engine beside llama-server."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast, get_args

import msgspec

from backends import providers
from backends.backend import Backend, Feature
from backends.bench.load import Load, Result, Run, run
from backends.bench.summary import summarize, table
from backends.bench.workload import Lengths, Workload, poisson, read_prompts
from backends.errors import BackendError, Code
from tui import log_file
from tui.exit_codes import ExitCode
from tui.target import Target


class LoadRequest(msgspec.Struct, frozen=True):
    """The options of `llmchat bench`, as given."""

    prompt: str
    output: str
    concurrency: int
    rate: float | None
    count: int | None
    duration: float | None
    warm_up: int
    shared_prefix: int
    shared_share: float
    prompts: Path | None
    temperature: float
    feature: str
    seed: int
    json: Path | None


def load(target: Target, asked: LoadRequest) -> ExitCode:
    """Put load on the target and print the table. Raises BackendError for wrong usage."""
    file = target.load()
    workload = Workload(
        Lengths.parse(asked.prompt),
        Lengths.parse(asked.output),
        asked.shared_prefix,
        asked.shared_share,
        read_prompts(asked.prompts) if asked.prompts else (),
        temperature=asked.temperature,
        feature=_feature(asked.feature),
        seed=asked.seed,
    )
    count = asked.count if asked.count is not None or asked.duration is not None else 8 * asked.concurrency
    shape = Load(asked.concurrency, count, asked.duration, asked.warm_up)
    log_file.start()
    done = asyncio.run(_load(lambda: providers.open_backend(file), workload, shape, asked))
    summary = summarize(done, file.config.budget(workload.feature))
    how = f"{asked.rate:g} requests/s (Poisson)" if asked.rate else f"{asked.concurrency} at a time"
    print(f"{file.config.backend}: {how}, seed {asked.seed}\n\n{table(summary)}")
    if asked.json is not None:
        record = {"options": asked, "backend": file.config.backend, "summary": summary, "results": done.results}
        asked.json.write_bytes(msgspec.json.encode(record, enc_hook=str))
    return ExitCode.COMPLETE if summary.answered else ExitCode.FAILED


def _feature(name: str) -> Feature:
    """`name`, if it is a feature's. Raises BackendError."""
    if name in get_args(Feature):
        return cast(Feature, name)
    raise BackendError(Code.CONFIG, f"--feature {name}: one of {', '.join(get_args(Feature))}")


async def _load(open_backend: Callable[[], Backend], workload: Workload, shape: Load, asked: LoadRequest) -> Run:
    progress = _Progress(shape.count)
    async with contextlib.aclosing(open_backend()) as backend:
        arrivals = poisson(asked.rate, asked.seed) if asked.rate else None
        try:
            return await run(backend, workload.requests(), shape, arrivals, progress.show)
        finally:
            progress.close()


class _Progress:
    """How many are done, on a terminal only."""

    def __init__(self, count: int | None) -> None:
        self._of = f" of {count}" if count else ""
        self._done = 0

    def show(self, result: Result) -> None:
        self._done += 1
        if sys.stderr.isatty():
            print(f"\r{self._done}{self._of} answered", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        if sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


class EngineRequest(msgspec.Struct, frozen=True):
    """The options of `llmchat bench engine`, as given."""

    model: Path | None
    rival: Path | None
    sizes: str
    json: Path | None
    only: str
    repeats: float
    seconds: float | None
    threads: int
    folder: Path | None


def engine(asked: EngineRequest) -> ExitCode:
    """Measure, and print the table of all that the record holds. Raises BackendError."""
    from backends.bench.cells import Scale
    from backends.bench.engine import Bench, Measuring, Subject
    from backends.bench.models import PAIR_SHAPE, SHAPES, make
    from backends.bench.record import open_record
    from backends.bench.report import markdown
    from backends.bench.suite import SCALES, setups, speculation_setups

    folder = asked.folder or default_folder()
    rival = _rival(asked.rival, folder)
    names = [name.strip() for name in asked.sizes.split(",") if name.strip()]
    if unknown := [name for name in names if name not in (*SCALES, PAIR_SHAPE.name)]:
        raise BackendError(Code.CONFIG, f"--sizes {unknown[0]}: any of {', '.join((*SCALES, PAIR_SHAPE.name))}")
    record = open_record(asked.json)
    only = frozenset(filter(None, asked.only.split(",")))
    bench = Bench(folder, rival, asked.seconds, asked.repeats, only, asked.threads)

    def save() -> None:
        if asked.json is not None:
            record.save(asked.json)

    plan = (
        [(asked.model.stem, setups())]
        if asked.model
        else [(name, speculation_setups() if name == PAIR_SHAPE.name else setups()) for name in names]
    )

    async def measure() -> None:
        measuring = Measuring(bench, record, save)
        for name, wanted in plan:
            path = asked.model or make(SHAPES.get(name, PAIR_SHAPE), folder)
            await measuring.measure(Subject(name, path, SCALES.get(name, Scale())), wanted)

    log_file.start()
    asyncio.run(measure())
    print(f"\n{markdown(record, plan)}")
    return ExitCode.COMPLETE


def default_folder() -> Path:
    """Where models and a built llama-server are kept."""
    from platformdirs import user_cache_path

    return user_cache_path("llmchat") / "bench"


def _rival(given: Path | None, folder: Path) -> Path | None:
    """llama-server's binary: as given, as built by tests/bench/engine, or on the PATH. Raises BackendError."""
    if given is not None:
        if not os.access(given, os.X_OK):
            raise BackendError(Code.CONFIG, f"--llama-server {given}: no such program")
        return given
    built = folder / "llama-server" / "bin" / "llama-server"
    found = built if built.exists() else shutil.which("llama-server")
    if found is None:
        print("There is no llama-server: ours is measured alone (make bench-engine builds one).", file=sys.stderr)
        return None
    return Path(found)
