"""The engine in this process: without HTTP, and with a stopwatch between it and llama.cpp."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from backends.backend import Backend
from backends.bench.cells import Cell, Scale, Values
from backends.bench.load import Load, run
from backends.bench.workload import Lengths, Workload
from backends.engine import Engine, EngineOptions

_COMPUTING = ("llama_decode", "llama_synchronize", "llama_get_logits", "llama_get_logits_ith", "llama_sampler_sample")


@contextlib.asynccontextmanager
async def engine_here(options: EngineOptions) -> AsyncIterator[Engine]:
    """A loaded engine. Raises BackendError."""
    engine = Engine(options)
    async with contextlib.aclosing(engine):
        await engine.ready()
        yield engine


class Stopwatch:
    """Stands in for the module of llama.cpp's functions, and counts the seconds spent in those that compute."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self.seconds = 0.0
        self.steps = 0
        self.begun = self.ended = 0.0

    def __getattr__(self, name: str) -> Any:
        function = getattr(self._library, name)
        if name in _COMPUTING:
            function = self._timed(function, name == "llama_decode")
        setattr(self, name, function)
        return function

    def _timed(self, function: Callable[..., Any], is_step: bool) -> Callable[..., Any]:
        def timed(*arguments: Any) -> Any:
            before = time.perf_counter()
            result = function(*arguments)
            self.ended = time.perf_counter()
            self.seconds += self.ended - before
            if is_step:
                self.begun = self.begun or before
                self.steps += 1
            return result

        return timed

    def reset(self) -> None:
        """Begin anew."""
        self.seconds = self.begun = self.ended = 0.0
        self.steps = 0

    @property
    def rest(self) -> float:
        """The share of the time from the first step to the last that was not llama.cpp's."""
        whole = self.ended - self.begun
        return 1 - self.seconds / whole if whole > 0 else 0.0


def python_share(streams: int) -> Cell:
    """What of the step loop's time is not llama.cpp's, with `streams` answers at once; and what that is for a step."""

    async def cell(backend: Backend, scale: Scale, seed: int) -> Values:
        assert isinstance(backend, Engine)
        watch = _watched(backend)
        even = Workload(Lengths("fixed", 16), Lengths("fixed", scale.decode), seed=seed)
        watch.reset()
        await run(backend, even.requests(), Load(streams, streams))
        seconds = watch.ended - watch.begun - watch.seconds
        return {"python %": 100 * watch.rest, "python us": 1e6 * seconds / max(1, watch.steps)}

    return cell


def _watched(engine: Engine) -> Stopwatch:
    """The stopwatch of `engine`, which has no idea of it."""
    runner: Any = engine._runner
    if not isinstance(runner._c, Stopwatch):
        runner._c = Stopwatch(runner._c)
    watch: Stopwatch = runner._c
    return watch
