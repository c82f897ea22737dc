"""The engine as a Backend: loading in the background, requests to sequences, events back."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, Literal

import msgspec

from backends.backend import ChatRequest, Message, Pausable
from backends.engine.bell import Bell
from backends.engine.detokenizer import Detokenizer
from backends.engine.draw import Draw
from backends.engine.options import EngineOptions
from backends.engine.prompt import Prepared, certain_prompt, is_quick, prepare, system_part
from backends.engine.scheduler import answer_limit
from backends.engine.sequence import Mailbox, Sequence
from backends.errors import BackendError, Code
from backends.events import Done, Error, Event, Status, Token, is_terminal

if TYPE_CHECKING:
    from backends.engine.load import ModelInfo
    from backends.engine.loop import StepLoop
    from backends.engine.runner import Runner
    from backends.engine.speculation import Speculation
    from backends.engine.template import ChatTemplate

log = logging.getLogger(__name__)

State = Literal["idle", "loading", "ready", "failed", "closed"]

SWITCH_INTERVAL = 0.0005
"""Seconds after which a thread gives up Python's lock to another: the scheduler must not wait 5 ms for it."""


class Engine:
    """A `Backend` that answers from a GGUF with llama.cpp, in this process, on a thread of its own.

    Loading begins with the first request or `start`; requests that come meanwhile see its progress and then run. One
    engine belongs to one asyncio loop, that of its first use.
    """

    def __init__(self, options: EngineOptions) -> None:
        self.options = options
        self.state: State = "idle"
        self._permille = 0
        self._failure: BackendError | None = None
        self._changed = asyncio.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._bell: Bell | None = None
        self._runner: Runner | None = None
        self._template: ChatTemplate | None = None
        self._steps: StepLoop | None = None
        self._speculation: Speculation | None = None
        self._hints = 0
        self._submitted: dict[str, Sequence] = {}  # by the key of its request
        self._paused: set[str] = set()  # keys

    # ---- what others may ask

    @property
    def info(self) -> ModelInfo | None:
        """What is loaded; None unless `state` is "ready"."""
        return self._runner.info if self._runner and self.state == "ready" else None

    async def start(self) -> None:
        """Begin to load, if that has not begun; returns at once."""
        if self.state == "idle":
            self.state = "loading"
            self._bell = Bell(asyncio.get_running_loop())
            self._thread = threading.Thread(target=self._main, name="llmchat-engine", daemon=True)
            self._thread.start()

    async def ready(self) -> ModelInfo:
        """Wait until the model is loaded. Raises BackendError when it cannot be, or the engine was closed."""
        await self.start()
        while self.state == "loading":
            await self._changed.wait()
        runner, _, _ = self._loaded()
        return runner.info

    def count_tokens(self, text: str) -> int:
        """How many tokens `text` is, special tokens not recognised in it. Raises BackendError unless ready."""
        runner, _, _ = self._loaded()
        return len(runner.tokenize(text, False))

    # ---- Backend

    def stream(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        """See `Backend.stream`."""
        return self._stream(request, time.perf_counter())

    async def warm(self, request: ChatRequest) -> Status | Error | None:
        """See `Backend.warm`: loads the model; once it is there, computes what the coming prompt begins with.

        Returns at once. Nobody waits for this work, and the next request or hint ends it; what it has done is kept.
        """
        await self.start()
        if self.state == "loading":
            return Status("loading", done=self._permille, total=1000)
        self._hints += 1
        number = self._hints
        try:
            runner, template, steps = self._loaded()
            tokens = await asyncio.to_thread(certain_prompt, runner, template, request)
        except BackendError as error:  # the stream that follows will say it
            log.info("no hint of %d messages: %s", len(request.messages), error)
            return None if self.state == "ready" else error.event()
        if number == self._hints and 0 < len(tokens) <= runner.info.n_ctx:
            hint = _hint(tokens, request.partition)
            hint.is_draft = True
            steps.warm(hint)
        return None

    def _foresee(self, request: ChatRequest, answer: str, steps: StepLoop) -> None:
        """`request` was answered: while nobody wants anything, compute what the next turn will begin with.

        That is the end of the answer in the template's frame; and the answer, where its text is not tokenized as it was
        sampled, or where the template leaves its thinking out of later turns.
        """
        runner, template = self._runner, self._template
        if runner is None or template is None or self.options.kv_residency == "none":
            return
        if request.feature != "chat" or not answer or not steps.is_free:
            return
        turns = (*request.messages, Message("assistant", request.continue_from + answer))
        coming = msgspec.structs.replace(request, messages=turns, continue_from="")
        number = self._hints

        def take(tokens: asyncio.Future[list[int]]) -> None:
            if tokens.cancelled() or tokens.exception() is not None:  # the next turn's request will say it
                return
            if number == self._hints and steps.is_free and len(tokens.result()) <= runner.info.n_ctx:
                steps.warm(_hint(tokens.result(), request.partition))

        loop = asyncio.get_running_loop()
        loop.run_in_executor(None, certain_prompt, runner, template, coming).add_done_callback(take)

    # ---- Pausable

    @property
    def pausable(self) -> Pausable:
        """It is: a paused answer keeps its slot, its cells and its sampler, unless others need them."""
        return self

    def pause(self, key: str) -> None:
        """See `Pausable`: within a step, in a long prefill too where llama.cpp can be interrupted."""
        self._paused.add(key)
        self._park(key, True)

    def resume(self, key: str) -> None:
        """See `Pausable`."""
        self._paused.discard(key)
        self._park(key, False)

    def _park(self, key: str, parked: bool) -> None:
        if key in self._submitted and self._steps is not None:
            self._steps.park(self._submitted[key], parked)

    async def aclose(self) -> None:
        """End running streams with an `Error` (SHUTDOWN), stop the thread and free the model."""
        self._closing.set()
        if self._steps is not None:
            self._steps.close()
        self._set_state("closed")
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)
            if self._bell is not None:
                self._bell.close()
                self._bell = None

    # ---- a request

    async def _stream(self, request: ChatRequest, arrival: float) -> AsyncGenerator[Event, None]:
        await self.start()
        loaded_ms = 0.0
        while self.state == "loading":
            changed = self._changed  # taken before the reader runs, who may take his time
            yield Status("loading", done=self._permille, total=1000)
            await changed.wait()
            loaded_ms = (time.perf_counter() - arrival) * 1000
        try:
            sequence, steps = await self._submit(request, arrival, loaded_ms)
        except BackendError as error:
            yield error.event()
            return
        ended: Event | None = None
        said: list[str] = []
        try:
            while ended is None:
                event = await sequence.mailbox.take()
                if isinstance(event, Token):
                    said.append(event.text)
                ended = event if is_terminal(event) else None
                yield event
        finally:
            self._submitted.pop(request.key, None)
            if ended is None:
                steps.cancel(sequence)
            elif isinstance(ended, Done):
                self._foresee(request, "".join(said), steps)

    async def _submit(self, request: ChatRequest, arrival: float, loaded_ms: float) -> tuple[Sequence, StepLoop]:
        """Turn `request` into a sequence and hand it to the scheduler. Raises BackendError for what cannot be done."""
        runner, template, steps = self._loaded()
        if request.max_tokens is not None and request.max_tokens < 1:
            raise BackendError(Code.BAD_REQUEST, f"max_tokens {request.max_tokens} is not at least 1")
        with steps.announced():
            try:
                prompt, draw, closing = await _prepared(runner, template, request)
                keep = self.options.keep
                if self.options.on_full == "shift" and not keep:
                    keep = await asyncio.to_thread(system_part, runner, template, request, prompt)
            except BackendError as error:  # perhaps because the loop has died and closed the runner meanwhile
                raise self._failure or error from None
            n_ctx = runner.info.n_ctx
            shifts = self.options.on_full == "shift"
            limit = answer_limit(len(prompt), request.max_tokens, request.token_limit, n_ctx, shifts)
            if limit < 1:
                raise _context_full(len(prompt), request, n_ctx)
            text = Detokenizer(request.sampling.stop, closing)
            sequence = Sequence(prompt, limit, draw, text, arrival, request.partition, request.feature)
            if shifts:
                sequence.window, sequence.keep = n_ctx, min(keep, len(prompt))
            sequence.loaded_ms = loaded_ms
            sequence.fills_context = request.max_tokens is None and limit < request.token_limit
            sequence.patience = request.queue_timeout or getattr(self.options.queue_timeout, request.feature)
            sequence.park(request.key in self._paused)
            steps.submit(sequence)
        if request.key:
            self._submitted[request.key] = sequence
        return sequence, steps

    def _loaded(self) -> tuple[Runner, ChatTemplate, StepLoop]:
        """The parts of a loaded engine. Raises BackendError when there are none."""
        if self._failure is not None:
            raise self._failure
        if self.state == "closed":
            raise BackendError(Code.SHUTDOWN, "the engine was shut down", retryable=True)
        if self._runner is None or self._template is None or self._steps is None:
            raise BackendError(Code.MODEL_LOAD, "the model is not loaded yet", retryable=True)
        return self._runner, self._template, self._steps

    # ---- the thread

    def _main(self) -> None:
        """Load, run, free."""
        switch_interval = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_INTERVAL)
        try:
            runner = self._load()
        except BackendError as error:
            self._call(self._fail, error)
        except Exception as error:  # the thread's boundary: nobody above could report it
            log.exception("loading the model failed")
            self._call(self._fail, BackendError(Code.INTERNAL, f"loading the model failed on a defect: {error!r}"))
        else:
            assert self._steps is not None
            end = self._steps.run()
            if end.code != Code.SHUTDOWN:
                self._call(self._fail, end)
            self._steps.dismiss(end)
            self._free(runner)
        finally:
            sys.setswitchinterval(switch_interval)

    def _load(self) -> Runner:
        from backends.engine.loop import StepLoop
        from backends.engine.runner import Runner
        from backends.engine.speculation import speculation_for
        from backends.engine.template import CHATML, ChatTemplate

        runner = Runner(self.options, self._on_progress)
        try:
            self._template = ChatTemplate(runner.chat_template or CHATML, *runner.token_texts())
            self._speculation = speculation_for(runner, self.options, self._on_progress)
        except BackendError:
            runner.close()
            raise
        self._runner = runner
        self._steps = StepLoop(runner, self.options, lambda batch: self._call(_deliver, batch), self._speculation)
        if self._closing.is_set():  # aclose may have looked before there was a loop to close
            self._steps.close()
        self._call(self._set_state, "ready")
        return runner

    def _free(self, runner: Runner) -> None:
        if self._speculation is not None:
            self._speculation.close()
        runner.close()

    def _on_progress(self, part: float) -> bool:
        permille = round(part * 1000)
        if permille > self._permille:
            self._call(self._set_progress, permille)
        return not self._closing.is_set()

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        """Call `function` on the asyncio loop; with that gone nobody listens, and the thread ends."""
        assert self._bell is not None
        try:
            self._bell.call(function, *arguments)
        except RuntimeError:
            self._closing.set()
            if self._steps is not None:
                self._steps.close()

    # ---- called on the asyncio loop

    def _set_progress(self, permille: int) -> None:
        self._permille = permille
        self._notify()

    def _set_state(self, state: State) -> None:
        if self.state != "closed":
            self.state = state
        self._notify()

    def _fail(self, failure: BackendError) -> None:
        if self.state != "closed":
            self._failure = failure
        self._set_state("failed")

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


async def _prepared(runner: Runner, template: ChatTemplate, request: ChatRequest) -> Prepared:
    """`prepare`, in another thread where it would hold up the loop. Raises BackendError."""
    if is_quick(request):
        return prepare(runner, template, request)
    return await asyncio.to_thread(prepare, runner, template, request)


def _deliver(batch: list[tuple[Mailbox, list[Event]]]) -> None:
    for mailbox, events in batch:
        mailbox.deliver(events)


def _hint(tokens: list[int], partition: str) -> Sequence:
    """A prompt to be computed for nobody."""
    return Sequence(tokens, 0, Draw(temperature=0), Detokenizer(), time.perf_counter(), partition)


def _context_full(prompt: int, request: ChatRequest, n_ctx: int) -> BackendError:
    asked = f" and max_tokens {request.max_tokens:,}" if request.max_tokens is not None else ""
    advice = "shorten the conversation or its sources" + (", or ask for fewer tokens" if asked else "")
    return BackendError(
        Code.CONTEXT_FULL,
        f"the prompt has {prompt:,} tokens{asked}, but the context holds {n_ctx:,}: {advice}, or raise n_ctx",
    )
