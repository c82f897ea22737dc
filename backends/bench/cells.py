"""What is measured: each cell asks one server and returns numbers, as its client sees them.

Prompts come from `seed` and are different in every repetition, so that nothing is cached that should not be; both sides
get the same ones. Answers are greedy unless a cell says otherwise, and always as long as they may be.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing

import msgspec

from backends.backend import Backend, ChatRequest, Message, Sampling
from backends.bench.load import Load, Result, Run, measure, run
from backends.bench.wire import ServerClient
from backends.bench.workload import Lengths, Workload, words
from backends.errors import BackendError, Code
from backends.events import Error, Token

Values = dict[str, float]


class Scale(msgspec.Struct, frozen=True):
    """How much is asked of a model, in tokens: enough to measure, not more than a slow one does in half a minute."""

    decode: int = 256
    prompt: int = 1024
    long: int = 8192
    shared: int = 512
    mixed_prompts: Lengths = Lengths("uniform", 16, 256)
    mixed_outputs: Lengths = Lengths("uniform", 16, 128)
    skewed_outputs: Lengths = Lengths("lognormal", 32, 256)
    typed: int = 200


_STREAMING = 4
"""Chunks after which an answer streams, the first ones being slower."""

SKEWED = 4
"""Requests for each stream of the skewed mix."""

Cell = Callable[[Backend, Scale, int], Awaitable[Values]]


async def begin(backend: Backend) -> None:
    """What comes before the first cell: a server's first answer is slower than the others."""
    await _answered(backend, _ask("ab cd ef", 8))


async def decode(backend: Backend, scale: Scale, seed: int) -> Values:
    """One stream: tokens a second between the first and the last of them."""
    result = await _answered(backend, _ask(words(random.Random(seed), 16), scale.decode))
    return {"tok/s": _speed(result)}


def sampled_decode(temperature: float) -> Cell:
    """`decode` at a temperature; a draft's acceptance too, where there is one."""

    async def cell(backend: Backend, scale: Scale, seed: int) -> Values:
        result = await _answered(backend, _ask(words(random.Random(seed), 16), scale.decode, temperature))
        values = {"tok/s": _speed(result)}
        if result.draft_tokens:
            values["acceptance"] = (result.accepted_tokens or 0) / result.draft_tokens
        return values

    return cell


def aggregate(streams: int) -> Cell:
    """`streams` at once, twice as many requests of mixed lengths: tokens made a second, time for prompts included."""

    async def cell(backend: Backend, scale: Scale, seed: int) -> Values:
        mix = Workload(scale.mixed_prompts, scale.mixed_outputs, seed=seed)
        return {"tok/s": await _throughput(backend, mix, Load(streams, 2 * streams))}

    return cell


def skewed(streams: int) -> Cell:
    """As `aggregate`, but most answers are short and some long: what static batching is worst at."""

    async def cell(backend: Backend, scale: Scale, seed: int) -> Values:
        done = await _done(backend, skewed_mix(scale, seed), Load(SKEWED * streams, SKEWED * streams))
        return {"tok/s": sum(result.tokens for result in done.results) / done.seconds}

    return cell


def skewed_mix(scale: Scale, seed: int) -> Workload:
    """What `skewed` asks, `SKEWED` requests for each stream, all at once."""
    return Workload(scale.mixed_prompts, scale.skewed_outputs, seed=seed)


async def shared_prefix(backend: Backend, scale: Scale, seed: int) -> Values:
    """8 at once with one long prefix that nobody has asked before: made tokens a second."""
    mix = Workload(Lengths("fixed", scale.shared + 32), Lengths("fixed", 24), shared_prefix=scale.shared, seed=seed)
    return {"tok/s": await _throughput(backend, mix, Load(8, 8))}


async def cold(backend: Backend, scale: Scale, seed: int) -> Values:
    """Time to the first token of a long new prompt."""
    result = await _answered(backend, _ask(words(random.Random(seed), scale.prompt), 4))
    return {"ttft ms": _ttft(result)}


async def warm(backend: Backend, scale: Scale, seed: int) -> Values:
    """Time to the first token of a second turn, 32 words behind a long first one."""
    rng = random.Random(seed)
    turns = await _first_turn(backend, words(rng, scale.prompt))
    result = await _answered(backend, _chat((*turns, Message("user", words(rng, 32))), 4))
    return {"ttft ms": _ttft(result)}


async def typed(backend: Backend, scale: Scale, seed: int) -> Values:
    """As `warm`, 200 words behind it, which were typed before: the hints go out as the chat sends them."""
    rng = random.Random(seed)
    turns = await _first_turn(backend, words(rng, scale.prompt))
    text = words(rng, scale.typed).split()
    for share in (0.25, 0.5, 0.75, 1.0):
        so_far = " ".join(text[: round(share * len(text))])
        await backend.warm(_chat((*turns, Message("user", so_far)), 4))
        await asyncio.sleep(0.5 * scale.typed / 200)  # nobody types faster; what is computed meanwhile is the point
    result = await _answered(backend, _chat((*turns, Message("user", " ".join(text))), 4))
    return {"ttft ms": _ttft(result)}


async def long_prompt(backend: Backend, scale: Scale, seed: int) -> Values:
    """A long prompt arrives while two answers stream: their longest gap until its first token, and its own TTFT."""
    rng = random.Random(seed)
    long = _ask(words(rng, scale.long), 2)
    await _prepare(backend, long)
    running = [Reader(backend, _ask(words(rng, 16), 8 * scale.decode)) for _ in range(2)]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(reader.read()) for reader in running]
        for reader in running:
            await reader.streaming.wait()
        sent = time.perf_counter()
        result = await _answered(backend, long)
        until = sent + _ttft(result) / 1000
        await asyncio.sleep(0.05)  # for the token that waited for it
        for task in tasks:
            task.cancel()
    return {"worst gap ms": max(_worst_gap(it.stamps, sent, until) for it in running), "ttft ms": _ttft(result)}


async def prompts_beside_answers(backend: Backend, scale: Scale, seed: int) -> Values:
    """Four answers stream when six prompts arrive at once: the p95 of their gaps until the last one's first token, and
    the prompts' mean TTFT. What is good for one of them is bad for the other: `objective` and `max_gap_ms`."""
    rng = random.Random(seed)
    prompts = [_ask(words(rng, scale.prompt), 2) for _ in range(6)]
    for prompt in prompts:
        await _prepare(backend, prompt)
    running = [Reader(backend, _ask(words(rng, 16), 16 * scale.decode)) for _ in range(4)]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(reader.read()) for reader in running]
        for reader in running:
            await reader.streaming.wait()
        sent = time.perf_counter()
        results = await asyncio.gather(*(_answered(backend, prompt) for prompt in prompts))
        until = sent + max(_ttft(result) for result in results) / 1000
        for task in tasks:
            task.cancel()
    gaps = sorted(gap for reader in running for gap in _gaps(reader.stamps, sent, until))
    return {
        "gap ms": 1000 * gaps[int(0.95 * len(gaps))],
        "ttft ms": sum(_ttft(result) for result in results) / len(results),
    }


def cancel(in_prefill: bool) -> Cell:
    """One slot: from a client's disconnect, in decode or in a long prefill, to the first token of who waited for it."""

    async def cell(backend: Backend, scale: Scale, seed: int) -> Values:
        rng = random.Random(seed)
        gone = _ask(words(rng, scale.long // 2 if in_prefill else 16), 8 * scale.decode)
        short = _ask(words(rng, 3), 2)
        first, second = Reader(backend, gone), Reader(backend, short)
        async with asyncio.TaskGroup() as group:
            leaving = group.create_task(first.read())
            if not in_prefill:
                await first.streaming.wait()
            await asyncio.sleep(0.1)
            group.create_task(second.read())
            await asyncio.sleep(0.1)
            left = time.perf_counter()
            leaving.cancel()
        return {"ms": (second.stamps[0] - left) * 1000}

    return cell


# ---- what cells are made of


def _ask(text: str, limit: int, temperature: float = 0.0) -> ChatRequest:
    return _chat((Message("user", text),), limit, temperature)


def _chat(messages: Sequence[Message], limit: int, temperature: float = 0.0) -> ChatRequest:
    return ChatRequest(tuple(messages), max_tokens=limit, sampling=Sampling(temperature=temperature, seed=1))


async def _prepare(backend: Backend, request: ChatRequest) -> None:
    if isinstance(backend, ServerClient):
        await backend.prepare(request)


async def _answered(backend: Backend, request: ChatRequest) -> Result:
    """One measured request. Raises BackendError when it fails: a benchmark of failures is none."""
    await _prepare(backend, request)
    return _checked(await measure(backend, request, time.perf_counter()))


def _checked(result: Result) -> Result:
    if not result.good:
        raise BackendError(Code.BAD_RESPONSE, f"a request of the benchmark failed: {result.error or result.outcome}")
    return result


def _speed(result: Result) -> float:
    """Tokens a second. Raises BackendError when all came at once."""
    if result.tpot is None:
        raise BackendError(Code.BAD_RESPONSE, "an answer is too short for its speed to be measured")
    return 1000 / result.tpot


def _ttft(result: Result) -> float:
    assert result.ttft is not None
    return result.ttft


async def _done(backend: Backend, workload: Workload, load: Load) -> Run:
    """`load` with `count` set, every request of it answered. Raises BackendError when one fails."""
    requests = list(itertools.islice(workload.requests(), load.count))
    for request in requests:
        await _prepare(backend, request)
    done = await run(backend, iter(requests), load)
    for result in done.results:
        _checked(result)
    return done


async def _throughput(backend: Backend, workload: Workload, load: Load) -> float:
    done = await _done(backend, workload, load)
    return sum(result.tokens for result in done.results) / done.seconds


async def _first_turn(backend: Backend, text: str) -> tuple[Message, ...]:
    """A first question and its answer, as the turns that the next question comes behind."""
    request = _ask(text, 16)
    await _prepare(backend, request)
    answer = []
    async with aclosing(backend.stream(request)) as events:
        async for event in events:
            if isinstance(event, Token):
                answer.append(event.text)
            elif isinstance(event, Error):
                raise _failed(event)
    await asyncio.sleep(0.3)  # nobody asks again at once: what a server does when it is idle, it does now
    return (*request.messages, Message("assistant", "".join(answer)))


class Reader:
    """Reads an answer until it ends or its task is cancelled; `stamps`: when its chunks came."""

    def __init__(self, backend: Backend, request: ChatRequest) -> None:
        self.stamps: list[float] = []
        self.streaming = asyncio.Event()
        self._backend = backend
        self._request = request

    async def read(self) -> None:
        """Raises BackendError when the answer fails."""
        await _prepare(self._backend, self._request)
        async with aclosing(self._backend.stream(self._request)) as events:
            async for event in events:
                if isinstance(event, Token):
                    self.stamps.append(time.perf_counter())
                    if len(self.stamps) == _STREAMING:
                        self.streaming.set()
                elif isinstance(event, Error):
                    raise _failed(event)


def _worst_gap(stamps: Sequence[float], begin: float, end: float) -> float:
    """The longest of `_gaps`, in milliseconds."""
    return 1000 * max(_gaps(stamps, begin, end))


def _gaps(stamps: Sequence[float], begin: float, end: float) -> list[float]:
    """The times without a chunk that lie at least partly between `begin` and `end`, in seconds; never none."""
    inside = [later - earlier for earlier, later in itertools.pairwise(stamps) if later >= begin and earlier <= end]
    silent = end - max((stamp for stamp in stamps if stamp <= end), default=begin)  # nothing came until the end
    return [*inside, silent]


def _failed(error: Error) -> BackendError:
    return BackendError(error.code, f"a request of the benchmark failed: {error.message}")
