"""The provider ``route``: several configured backends, one of which answers.

Which one is decided by what was measured of each (`backends.routing`). Before the first token it goes on to another one
when the first fails or takes longer than it may; afterwards the answer stays where it is. What it took and why is told
while it waits (`Status`) and with the answer (`Meta.route`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Annotated

import msgspec

from backends.backend import Backend, ChatRequest
from backends.errors import Code, ConfigError
from backends.events import Done, Error, Event, Meta, Reasoning, Status, Token, shifted
from backends.providers import ProviderOptions, Site
from backends.routing.choose import Candidate, Choice, Preference, choose
from backends.routing.measured import Measured
from backends.telemetry.stages import Span

_OUR_FAULT = frozenset({Code.BAD_REQUEST, Code.CONTEXT_FULL, "HTTP_400", "HTTP_413", "HTTP_422"})
"""Errors that say something about the request, and nothing about the health of who gives them."""

Positive = Annotated[float, msgspec.Meta(gt=0)]


class Over(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of the backends; `model` and `ttft_ms` instead of its own and the route's."""

    backend: str
    model: str = ""
    ttft_ms: Positive | None = None


class Options(ProviderOptions, frozen=True, kw_only=True):
    """`over`: the backends, the preferred one first. `prefer`: "fastest", who is expected to begin first, or "order",
    the first of those expected to begin within `ttft_ms`. After `ttft_ms` without a token the next one is asked.
    `avoid`: seconds for which one that failed or was too slow is avoided; doubled with every further failure."""

    over: tuple[str | Over, ...]
    prefer: Preference = "fastest"
    ttft_ms: Positive = 3000.0
    avoid: Positive = 10.0


def connect(options: Options, site: Site) -> Backend:
    """The backends of `options.over`; opens no connection yet. Raises ConfigError where one cannot be opened."""
    if not options.over:
        raise ConfigError(f"backend '{site.name}': over = [] names no backend to route to")
    entries = [Over(entry) if isinstance(entry, str) else entry for entry in options.over]
    candidates = [Candidate(each.backend, each.model, each.ttft_ms or options.ttft_ms) for each in entries]
    opened = {name: site.open(name) for name in dict.fromkeys(each.backend for each in candidates)}
    return Route(candidates, [opened[each.backend] for each in candidates], options.prefer, options.avoid)


class Route:
    """A Backend over several."""

    def __init__(
        self,
        candidates: Sequence[Candidate],
        backends: Sequence[Backend],
        preference: Preference = "fastest",
        avoid: float = 10.0,
    ) -> None:
        """`backends`: those of `candidates`; one may stand there for several models."""
        self._candidates = tuple(candidates)
        self._backends = tuple(backends)
        self._preference: Preference = preference
        self._avoid = avoid
        self._measured = [Measured() for _ in candidates]
        self._closed = False

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        """See `Backend.stream`."""
        since = time.perf_counter()
        problems: dict[int, Error] = {}
        slow: list[int] = []
        because = ""
        while (choice := self._choice(problems, slow)) is not None:
            name = self._candidates[choice.index].shown
            route = f"{name}: {because or choice.why}"
            yield Status("connecting", detail=route)
            waited = (time.perf_counter() - since) * 1000
            lost = (Span("retry", 0.0, waited, "client"),) if problems or slow else ()
            yield Meta(route=route, spans=lost)
            attempt = _Attempt(choice)
            async with aclosing(self._ask(attempt, request)) as events:
                async for event in events:
                    yield shifted(event, waited)
            if attempt.over:
                return
            if attempt.problem is None:
                slow.append(choice.index)
                because = f"{name} gave no token within {choice.limit_ms or 0:.0f} ms"
            else:
                problems[choice.index] = attempt.problem
                because = attempt.problem.message
                if self._closed:
                    break
        yield self._last_word(problems)

    async def _ask(self, attempt: _Attempt, request: ChatRequest) -> AsyncGenerator[Event, None]:
        """What one backend answers; nothing of an error before the first token, which `attempt` then has."""
        at = attempt.choice.index
        if model := self._candidates[at].model:
            request = msgspec.structs.replace(request, model=model)
        limit = attempt.choice.limit_ms
        loop = asyncio.get_running_loop()
        deadline = None if limit is None else loop.time() + limit / 1000
        self._measured[at] = self._measured[at].begun()
        try:
            async with aclosing(self._backends[at].stream(request)) as events:
                while not attempt.over:
                    async with asyncio.timeout_at(None if attempt.has_begun else deadline):
                        event = await anext(events, None)
                    if event is None:
                        event = Error(Code.INTERRUPTED, f"{self._candidates[at].shown} stopped", retryable=True)
                    attempt.note(event)
                    if attempt.problem is not None and not attempt.has_begun:
                        break
                    yield event
        except TimeoutError:
            pass  # its stream was closed by that
        finally:
            self._measured[at] = self._judged(at, attempt).ended()

    def _judged(self, at: int, attempt: _Attempt) -> Measured:
        """What is known of a backend after an attempt."""
        measured, now = self._measured[at], time.monotonic()
        if attempt.problem is not None:
            blameless = attempt.problem.code in _OUR_FAULT or attempt.problem.code == Code.SHUTDOWN
            return measured if blameless else measured.failed(now, self._avoid, attempt.problem.retry_after)
        if attempt.ttft_ms is not None:
            return measured.answered(attempt.ttft_ms, attempt.queue_ms, now)
        if attempt.over:
            return measured.worked()
        limit = attempt.choice.limit_ms
        return measured.failed(now, self._avoid) if limit is not None and attempt.elapsed_ms >= limit else measured

    async def warm(self, request: ChatRequest) -> Status | Error | None:
        """See `Backend.warm`: goes to whoever would get a question now, and on where that one cannot be had."""
        problems: dict[int, Error] = {}
        while (choice := self._choice(problems, ())) is not None:
            at = choice.index
            model = self._candidates[at].model
            met = await self._backends[at].warm(msgspec.structs.replace(request, model=model or request.model))
            if not isinstance(met, Error):
                self._measured[at] = self._measured[at].worked()
                return met
            problems[at] = met
            self._measured[at] = self._measured[at].failed(time.monotonic(), self._avoid, met.retry_after)
        return self._last_word(problems)

    async def aclose(self) -> None:
        """See `Backend.aclose`."""
        self._closed = True
        await asyncio.gather(*(backend.aclose() for backend in dict.fromkeys(self._backends)))

    def _choice(self, problems: dict[int, Error], slow: Sequence[int]) -> Choice | None:
        now = time.monotonic()
        return choose(self._candidates, self._measured, self._preference, now, failed=problems, slow=slow)

    def _last_word(self, problems: dict[int, Error]) -> Error:
        """Why nobody answers: the newest problem, with those before it."""
        *_, last = problems.values()
        if len(problems) == 1 or last.code == Code.SHUTDOWN:
            return last
        each = "; ".join(f"{self._candidates[at].shown}: {error.message}" for at, error in problems.items())
        retryable = any(error.retryable for error in problems.values())
        return Error(last.code, f"none of {len(problems)} backends answers: {each}", retryable, last.retry_after)


class _Attempt:
    """One backend's try at a request: how far it came. `over`: its ending is the request's."""

    def __init__(self, choice: Choice) -> None:
        self.choice = choice
        self.problem: Error | None = None
        self.over = False
        self.ttft_ms: float | None = None
        self.queue_ms = 0.0
        self._since = time.perf_counter()
        self._queued_at: float | None = None

    @property
    def has_begun(self) -> bool:
        """Whether there was a token."""
        return self.ttft_ms is not None

    @property
    def elapsed_ms(self) -> float:
        """Since it was asked."""
        return (time.perf_counter() - self._since) * 1000

    def note(self, event: Event) -> None:
        """Take in one event."""
        match event:
            case Token() | Reasoning() if self.ttft_ms is None:
                self.ttft_ms = self.elapsed_ms
                self._queue_ends()
            case Status() if event.status == "queued":
                self._queued_at = self.elapsed_ms if self._queued_at is None else self._queued_at
            case Status():
                self._queue_ends()
            case Meta():
                spans = [span.duration for span in event.spans if span.stage == "provider_queue"]
                self.queue_ms = max([self.queue_ms, *spans])
            case Error():
                self.problem = event
                self.over = self.has_begun
            case Done():
                self.over = True

    def _queue_ends(self) -> None:
        if self._queued_at is not None:
            self.queue_ms += self.elapsed_ms - self._queued_at
            self._queued_at = None
