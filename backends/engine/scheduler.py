"""What happens next, decided from plain data: who is next, who waits for how long, and what one step computes.

Pure functions; the step loop (loop.py) and its parts carry out what they say.

Who is next: everybody stands in line by when they came, plus a handicap for what can wait (`HANDICAP_MS`), plus, with
the objective "ttft", the time that their prompt takes: short ones first. So nobody waits for a request that came later
by more than its own handicap and its own prompt's time, and nobody starves, whatever else keeps coming.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable
from collections.abc import Sequence as Items

import msgspec

from backends.backend import Feature

HANDICAP_MS: dict[Feature, float] = {"chat": 0, "completion": 0, "summarize": 3_000, "batch": 15_000}
"""How much later a request seems to have come: what came up to that much after it goes first."""

PATIENT: frozenset[Feature] = frozenset(("summarize", "batch"))
"""Features that nobody sits and waits for: they may not take all streams."""

MIN_LEFT_OUT = 16
"""Tokens that have to come free when the oldest are left out: for fewer, an answer rather ends than stumbles on."""

EFFICIENT_CHUNK = 128
"""Tokens of a prompt that are worth a step of their own: on a CPU fewer cost more each, and more do not cost less."""

FIRST_CHUNK = 64
"""Tokens of a prompt beside running answers while it is not known what they cost."""

MIN_CHUNK, MAX_CHUNK = 32, 256
"""Tokens of a prompt beside running answers, unless `SLOWDOWN` asks for more: fewer are dear, more gain nothing."""

SLOWDOWN = 8
"""Beside running answers a prompt gets at least this many times the time that they take. So it is at most 1 + 1/8 times
as late as alone, and their gaps are at most 1 + 8 times what they are without it, where that is more than the target.
"""


class Active(msgspec.Struct, frozen=True):
    """An admitted sequence: `pending` tokens of it are known but not computed. 1: it decodes; more: it prefills.

    `due`: its place in line, the lowest first. `stretch`: the part of several prompts in which it stands, the same
    number for all of them; 0: its own.
    """

    key: int
    pending: int
    due: float = 0.0
    stretch: int = 0


class Chunk(msgspec.Struct, frozen=True):
    """The work of one sequence in one step: its next `tokens` tokens; `last` if they are all that is pending."""

    key: int
    tokens: int
    last: bool


class Candidate(msgspec.Struct, frozen=True):
    """A waiting request: `cells` is what it may need of the KV cache, prompt and answer together."""

    key: int
    cells: int


class Stay(msgspec.Struct, frozen=True):
    """A request that runs, or will: as far as one can tell, for `prompt` seconds until its prompt is computed, when
    nobody else's is, and `answer` seconds after that, with that many cells. `patient`: of one of those features."""

    answer: float
    cells: int
    patient: bool = False
    prompt: float = 0.0


def place_in_line(came_ms: float, feature: Feature, prompt_ms: float) -> float:
    """The time by which a request is ordered, on the clock of `came_ms`; `prompt_ms` is 0 where size does not count."""
    return came_ms + HANDICAP_MS[feature] + prompt_ms


def plan_step(active: Items[Active], prefill_budget: int, batch_limit: int) -> list[Chunk]:
    """The next batch: a decode token of everyone who decodes, then prompts by their place, within the budgets.

    What is in several prompts is computed once, for the first of them. `prefill_budget`: tokens of prompts per step;
    `batch_limit`: tokens of the whole batch.
    """
    step = [Chunk(it.key, 1, True) for it in active if it.pending == 1][:batch_limit]
    budget = min(prefill_budget, batch_limit - len(step))
    stretches = set[int]()
    for it in sorted((it for it in active if it.pending > 1), key=lambda it: it.due):
        if budget <= 0:
            break
        if it.stretch in stretches:
            continue
        if it.stretch:
            stretches.add(it.stretch)
        tokens = min(it.pending, budget)
        step.append(Chunk(it.key, tokens, tokens == it.pending))
        budget -= tokens
    return step


def prefill_budget(decoding: bool, plain: float, prompt_token: float, gap: float, longest: float = math.inf) -> int:
    """Tokens of prompts for the next step, so that it takes about `gap` seconds.

    `decoding`: whether answers go on in it, which takes `plain` seconds; `prompt_token`: seconds of one token; 0 where
    that is not known yet. Where the target leaves prompts next to nothing they get `SLOWDOWN` times what answers take,
    but no step takes longer than `longest` for the sake of more than `MIN_CHUNK` tokens.
    """
    if prompt_token <= 0:
        return FIRST_CHUNK if decoding else EFFICIENT_CHUNK
    if decoding:
        least, aim = round(SLOWDOWN * plain / prompt_token), min(MAX_CHUNK, int((gap - plain) / prompt_token))
    else:
        plain, least, aim = 0.0, EFFICIENT_CHUNK, int(gap / prompt_token)
    return int(max(MIN_CHUNK, min(max(least, aim), (longest - plain) / prompt_token)))


def most_at_once(tokens: int, prompt_token: float, longest: float = math.inf) -> int:
    """`tokens` of prompts for the next step, or as many as take no longer than `longest` seconds, at `prompt_token`
    seconds each (0: not known yet); but no fewer than `MIN_CHUNK`."""
    fitting = longest / prompt_token if prompt_token > 0 else math.inf
    return int(min(tokens, max(MIN_CHUNK, fitting)))


def places(line: Items[Feature], running: Items[Feature], streams: int, patient: int) -> list[int]:
    """Who of the waiting `line` gets a free stream, by their index: in this order, as long as there are any.

    At most `patient` of the `streams` are for `PATIENT` features; those that find them taken let others pass.
    """
    free = streams - len(running)
    free_patient = patient - sum(feature in PATIENT for feature in running)
    chosen: list[int] = []
    for index, feature in enumerate(line):
        if len(chosen) >= free:
            break
        if feature in PATIENT:
            if free_patient <= 0:
                continue
            free_patient -= 1
        chosen.append(index)
    return chosen


def leaves_out(held: int, keep: int) -> int:
    """How many tokens behind the first `keep` of the `held` ones give way when the context is full; 0: none can."""
    oldest = (held - keep) // 2
    return oldest if oldest >= MIN_LEFT_OUT else 0


def answer_limit(prompt: int, asked: int | None, default: int, n_ctx: int, shifts: bool = False) -> int:
    """How many tokens the answer may have: what was asked for, else the default cut to what the prompt leaves.

    0 or less when prompt and answer do not fit `n_ctx`: the request has to be refused. `shifts`: an answer that fills
    the context leaves out what is old and goes on, so it only needs room for a first token.
    """
    room = n_ctx - prompt
    if shifts and room >= 1:
        return default if asked is None else asked
    if asked is None:
        return min(default, room)
    return asked if asked <= room else 0


def expected_waits(
    running: Iterable[Stay], waiting: Items[Stay], free_streams: int, free_patient: int, free_cells: int
) -> list[float]:
    """Seconds until each of `waiting` finds a stream and cells, if all stay as long as they should.

    `free_patient`: how many of the free streams are for those that are `patient`. They start in this order, but that
    who finds no such stream lets others pass. Those who still do not fit when all others have gone are taken to fit.
    Answers go on side by side, prompts are computed one after the other, in the order given.
    """
    ends: list[tuple[float, int, bool]] = []
    prompts = 0.0  # when all of those that have started are computed

    def start(it: Stay, at: float) -> None:
        nonlocal prompts
        prompts = max(prompts, at) + it.prompt
        heapq.heappush(ends, ((prompts if it.prompt else at) + it.answer, it.cells, it.patient))

    for it in running:
        start(it, 0.0)
    now, waits, line = 0.0, [0.0] * len(waiting), list(range(len(waiting)))
    while line:
        while ends and ends[0][0] <= now:
            _, cells, patient = heapq.heappop(ends)
            free_streams, free_cells, free_patient = free_streams + 1, free_cells + cells, free_patient + patient
        starting: list[int] = []
        for index in line:
            it = waiting[index]
            if it.patient and free_patient < 1 and ends:
                continue
            if (free_streams < 1 or free_cells < it.cells) and ends:
                break
            starting.append(index)
            waits[index] = now
            start(it, now)
            free_streams, free_cells, free_patient = free_streams - 1, free_cells - it.cells, free_patient - it.patient
        line = [index for index in line if index not in starting]
        now = max(now, ends[0][0])
    return waits


def batch_is_formed(waiting: int, streams: int, waited_ms: float, window_ms: float, others_come: bool) -> bool:
    """Whether a batch should begin: it is full, or has been waited for long enough, or nobody else is coming."""
    return waiting >= streams or waited_ms >= window_ms or not others_come


def alike(line: Items[Candidate], streams: int) -> list[int]:
    """The keys of the first in `line` and of those that come nearest to its size, at most `streams`, in their order."""
    if not line:
        return []
    nearest = sorted(range(len(line)), key=lambda at: (abs(line[at].cells - line[0].cells), at))[:streams]
    return [line[at].key for at in sorted(nearest)]
