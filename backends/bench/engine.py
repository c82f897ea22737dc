"""Our engine beside llama-server: both on the same GGUF, the same threads and context, taking turns.

Every sample of one side has its counterpart of the other right before or after it, so that a ratio is between things
measured at the same time; which side begins changes from one repetition to the next.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec

from backends.backend import Backend
from backends.bench import cells
from backends.bench.cells import Scale
from backends.bench.in_process import engine_here
from backends.bench.models import make
from backends.bench.record import Record
from backends.bench.servers import llama_server, our_server, rival_flags
from backends.bench.suite import Contender, Entry, Setup, seed_of
from backends.engine.library import crashes_repacked, library_folder, load_library
from backends.engine.machine import physical_cores, threads_for
from backends.engine.options import EngineOptions
from backends.errors import BackendError, Code


class Bench(msgspec.Struct, frozen=True):
    """How a run is made. `rival`: llama-server's binary, None to measure ours alone. `folder`: models and logs.

    `seconds`: begin no further sample after that long. `repeats`: how often, relative to what the suite says.
    """

    folder: Path
    rival: Path | None = None
    seconds: float | None = None
    repeats: float = 1.0
    only: frozenset[str] = frozenset()
    threads: int = 0
    on_sample: Callable[[str], None] = print


class Subject(msgspec.Struct, frozen=True):
    """A model by its name in the record, its file, how much is asked of it."""

    name: str
    path: Path
    scale: Scale


class Measuring:
    """One run over some models; `record` is what it adds to, `save` is called after each sample."""

    def __init__(self, bench: Bench, record: Record, save: Callable[[], None]) -> None:
        self._bench = bench
        self._record = record
        self._save = save
        self._library: Any = load_library()
        self._deadline = None if bench.seconds is None else time.monotonic() + bench.seconds

    @property
    def in_time(self) -> bool:
        """Whether another sample may begin."""
        return self._deadline is None or time.monotonic() < self._deadline

    async def measure(self, subject: Subject, setups: Sequence[Setup]) -> None:
        """Add what is missing of `setups` on `subject`. Raises BackendError when a server does not do its work."""
        for setup in setups:
            missing = [entry for entry in setup.entries if self._lacks(subject.name, entry)]
            if missing and self.in_time:
                await self._run(subject, setup, missing)

    def _repeats(self, entry: Entry) -> int:
        return max(1, round(entry.repeats * self._bench.repeats))

    def _takes_part(self, setup: Setup, name: str) -> bool:
        contender = next(it for it in setup.contenders if it.name == name)
        return contender.kind != "rival" or self._bench.rival is not None

    def _lacks(self, model: str, entry: Entry) -> bool:
        if self._bench.only and entry.name not in self._bench.only:
            return False
        return len(self._record.of(model, entry.name, entry.contenders[0])) < self._repeats(entry)

    async def _run(self, subject: Subject, setup: Setup, entries: Sequence[Entry]) -> None:
        needed = {name for entry in entries for name in entry.contenders if self._takes_part(setup, name)}
        async with AsyncExitStack() as stack:
            backends = {
                it.name: await self._start(stack, subject, setup, it) for it in setup.contenders if it.name in needed
            }
            for backend in backends.values():
                await cells.begin(backend)
            for entry in entries:
                while self._lacks(subject.name, entry) and self.in_time:
                    await self._sample(subject, entry, backends)

    async def _sample(self, subject: Subject, entry: Entry, backends: dict[str, Backend]) -> None:
        """One value for each contender, kept only when all have one."""
        present = [name for name in entry.contenders if name in backends]
        number = len(self._record.of(subject.name, entry.name, entry.contenders[0]))
        turn = number % len(present)
        found = {}
        for name in present[turn:] + present[:turn]:
            found[name] = await entry.cell(backends[name], subject.scale, seed_of(entry.name, number))
        for name, values in found.items():
            self._record.of(subject.name, entry.name, name).append(values)
        self._save()
        shown = "; ".join(
            f"{name} " + ", ".join(f"{value:,.4g} {key}" for key, value in found[name].items()) for name in present
        )
        self._bench.on_sample(f"{subject.name} {entry.name} {number + 1}/{self._repeats(entry)}: {shown}")

    async def _start(self, stack: AsyncExitStack, subject: Subject, setup: Setup, it: Contender) -> Backend:
        model, draft = subject.path, ""
        if setup.pair is not None:
            model = make(setup.pair.target, self._bench.folder)
            draft = str(make(setup.pair.draft, self._bench.folder))
        threads = self._bench.threads or threads_for(model.stat().st_size, physical_cores())
        base = {"model": str(model), "n_threads": threads} | setup.options
        given = {key: draft if value == "DRAFT" else value for key, value in it.options.items()}
        options = msgspec.convert(base | given, EngineOptions)
        log = self._bench.folder / f"{it.name.replace(' ', '')}.log"
        if it.kind == "inside":
            return await stack.enter_async_context(engine_here(options))
        if it.kind == "ours":
            return await stack.enter_async_context(our_server(options, log))
        if self._bench.rival is None:
            raise BackendError(Code.CONFIG, "there is no llama-server to measure against")
        flags = rival_flags(
            options, threads, not crashes_repacked(self._library), bool(self._library.llama_supports_gpu_offload())
        )
        flags += [draft if flag == "DRAFT" else flag for flag in it.flags]
        libraries = same_libraries(self._bench.rival, library_folder(self._library))
        return await stack.enter_async_context(llama_server(self._bench.rival, flags, log, libraries))


def same_libraries(rival: Path, ours: Path) -> Path | None:
    """`ours`, the folder of our llama.cpp, if `rival` was linked to that version: on it, it computes as we do."""
    theirs = sorted(path.name for path in rival.resolve().parent.glob("lib*ggml-base.so.*.*"))
    return ours if theirs and all((ours / name).exists() for name in theirs) else None
