"""`llmchat ask`: one answer to stdout. Cancelling closes the backend's stream, so that the server stops too."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import stat
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TextIO

import msgspec

from backends import providers
from backends.backend import Backend, ChatRequest, Message, Sampling
from backends.config import ConfigFile
from backends.errors import BackendError, Code
from backends.events import Event, is_terminal
from backends.telemetry.timeline import Asked, Outcome, Timeline
from backends.telemetry.turns import numbers_of
from tui import log_file
from tui.commands.ask_output import JsonOutput, Output, TextOutput, statistics
from tui.commands.ask_several import Pages, comparison
from tui.exit_codes import ExitCode, of_error, of_outcome
from tui.target import Target
from tui.widgets.plain import plain

STDIN = "-"

log = logging.getLogger(__name__)


class Question(msgspec.Struct, frozen=True):
    """What is asked (`words` of the command line), and how the answer is printed."""

    words: Sequence[str]
    system: str = ""
    max_tokens: int | None = None
    sampling: Sampling = Sampling()
    reasoning: bool = True
    json: bool = False
    stats: bool = False
    sources: bool = False


@contextlib.contextmanager
def failures_told(as_json: bool) -> Iterator[None]:
    """Around what may raise BackendError before there is an answer: with `as_json` an event tells it, too."""
    try:
        yield
    except BackendError as error:
        if as_json:
            JsonOutput(sys.stdout.buffer).show(error.event())
        raise


def run(target: Target, question: Question, others: Sequence[str] = ()) -> ExitCode:
    """Ask, print, and return how it ended. `others`: backends that are asked at the same time, besides the target.

    With several it is how the first of them ended that was not complete. Raises BackendError for wrong usage.
    """
    log_file.start()
    targets = _targets(target, others)
    request = _request(question, prompt(question.words, sys.stdin))
    asked = time.monotonic()
    outputs = _outputs(question, list(targets))
    answers = {name: _Answer(targets[name], request, output, asked) for name, output in outputs.items()}
    asyncio.run(_print(list(answers.values())))
    _print_numbers({name: answer.timeline for name, answer in answers.items()}, question.stats)
    for answer in answers.values():
        answer.record()
    codes = [answer.exit_code for answer in answers.values()]
    return next((code for code in codes if code != ExitCode.COMPLETE), ExitCode.COMPLETE)


def _targets(target: Target, others: Sequence[str]) -> dict[str, Target]:
    """Whom to ask, by name; a single one needs none. Raises BackendError."""
    if not others:
        return {"": target}
    names = [target.backend or "", *others]
    if len(set(names)) < len(names):
        raise BackendError(Code.CONFIG, "--backend: the same backend twice")
    return {name: msgspec.structs.replace(target, backend=name) for name in names}


def _outputs(question: Question, names: Sequence[str]) -> dict[str, Output]:
    if question.json:
        return {name: JsonOutput(sys.stdout.buffer, name) for name in names}
    if len(names) == 1:
        return {name: TextOutput(sys.stdout, sys.stderr, question.sources) for name in names}
    pages = Pages(sys.stdout, sys.stderr, question.sources)
    return {name: pages.page(name) for name in names}


def _print_numbers(timelines: Mapping[str, Timeline], stats: bool) -> None:
    if len(timelines) > 1:
        print(comparison(timelines), file=sys.stderr)
    for name, timeline in timelines.items() if stats else ():
        print(f"{plain(name)}: {statistics(timeline)}" if name else statistics(timeline), file=sys.stderr)


def prompt(words: Sequence[str], stdin: TextIO | None) -> str:
    """The question: `words`, below what was piped in; ``-`` alone is what was piped in. Raises BackendError."""
    asked = " ".join(words)
    if stdin is None:  # closed by whoever started us
        text = "" if asked == STDIN else asked
    elif asked == STDIN:
        text = _read(stdin)
    else:
        piped = _read(stdin).rstrip() if _has_input(stdin) else ""
        text = f"{piped}\n\n{asked}" if piped and asked else piped or asked
    if not text.strip():
        raise BackendError(Code.CONFIG, 'there is no question: llmchat ask "..." or ... | llmchat ask')
    return text


def _has_input(stdin: TextIO) -> bool:
    """Whether something was piped in. A device or a socket is not read: nobody may ever close it."""
    mode = os.fstat(stdin.fileno()).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode)


def _read(stdin: TextIO) -> str:
    return stdin.buffer.read().decode("utf-8", "replace")


def _request(question: Question, text: str) -> ChatRequest:
    system = (Message("system", question.system),) if question.system else ()
    return ChatRequest(
        messages=(*system, Message("user", text)),
        max_tokens=question.max_tokens,
        sampling=question.sampling,
        reasoning="auto" if question.reasoning else "off",
    )


async def _print(answers: Sequence[_Answer]) -> None:
    """Print the answers until all have ended or a signal cancels them. Raises what the first of them raised."""
    printing = [asyncio.create_task(answer.print()) for answer in answers]
    signalled = False

    def cancel(number: int) -> None:
        """Cancel on the first signal, leave at once on the second."""
        nonlocal signalled
        running = [answer for answer in answers if answer.is_read]
        if signalled or not running:
            os._exit(128 + number)
        signalled = True
        for answer in running:
            answer.cancel(number)

    try:
        with _signals(cancel):
            await asyncio.wait(printing, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in printing:
            task.cancel()
    for task in printing:
        if task.done():
            task.result()


class _Answer:
    """One answer on its way to `output`."""

    def __init__(self, target: Target, request: ChatRequest, output: Output, asked: float) -> None:
        """`asked`: when the question was, by `time.monotonic`."""
        self._target = target
        self._file: ConfigFile | None = None
        self._request = request
        self._output = output
        self._asked = asked
        self._signal = 0
        self._reader: asyncio.Task[None] | None = None
        self.timeline = Timeline()

    @property
    def exit_code(self) -> ExitCode:
        """How it ended, for the shell."""
        if self._signal:
            return ExitCode(128 + self._signal)
        error = self.timeline.error
        return of_error(error.code) if error else of_outcome(self.timeline.outcome)

    async def print(self) -> None:
        """Print the answer until it ends or is cancelled. Raises BrokenPipeError, and whatever is a defect."""
        reader = self._reader = asyncio.create_task(self._read(), name="ask")
        try:
            await asyncio.wait({reader})
        finally:
            reader.cancel()
        error = None if reader.cancelled() else reader.exception()
        if isinstance(error, BrokenPipeError):
            raise error
        ending: Outcome = "cancelled" if self._signal else "failed" if error else "interrupted"
        self.timeline.end(ending, self._now())
        self._output.end(self.timeline)
        if error is not None:
            raise error

    async def _read(self) -> None:
        try:
            backend = self._open()
        except BackendError as error:
            self._take(error.event())
            return
        self.timeline.call_ms = self.timeline.status_ms = self._now()
        async with contextlib.aclosing(backend), contextlib.aclosing(backend.stream(self._request)) as events:
            async for event in events:
                self._take(event)
                if is_terminal(event):
                    return

    def _open(self) -> Backend:
        """The backend that is asked. Raises ConfigError."""
        file, request = self._target.load(), self._request
        self._file, config = file, file.config
        price = config.output_price(config.backend)
        self.timeline.messages = request.messages
        self.timeline.asked = Asked(config.backend, request.feature, request.token_limit, price)
        return providers.open_backend(file)

    def record(self) -> None:
        """Keep what it took, for `llmchat stats`; nothing of what was said. An answer is not worse for failing here."""
        from tui.history.history import History, path_of  # SQLite, after the answer

        if self._file is None:
            return
        with contextlib.closing(History(path_of(self._file))) as history:
            started = time.time() - self._now() / 1000
            history.add_turn(None, numbers_of(self.timeline, started), self.timeline.dump())
        if history.notice:
            log.warning("%s", history.notice)

    def _take(self, event: Event) -> None:
        self.timeline.add(event, self._now())
        self._output.show(event)

    @property
    def is_read(self) -> bool:
        """Whether there may be more of it."""
        return self._reader is not None and not self._reader.done()

    def cancel(self, number: int) -> None:
        """Cancel by a signal."""
        self._signal = number
        if self._reader is not None:
            self._reader.cancel()

    def _now(self) -> float:
        return 1000 * (time.monotonic() - self._asked)


@contextlib.contextmanager
def _signals(handle: Callable[[int], None]) -> Iterator[None]:
    """`handle` called in the event loop on SIGINT and SIGTERM."""
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, handle, int(number))
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
