"""`llmchat bench engine`: our engine beside llama-server."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path

import msgspec

from backends.errors import BackendError, Code
from tui import log_file
from tui.exit_codes import ExitCode


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
