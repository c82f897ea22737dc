"""Prefixes kept and shared, on the real llama.cpp: what is cached is not computed, and changes nobody's answer."""

from __future__ import annotations

import asyncio
import random
import threading
from contextlib import aclosing
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from backends.backend import ChatRequest, Message
from backends.engine import Engine
from backends.engine.loop import StepLoop
from backends.engine.prefix_cache import Costs
from backends.engine.residency import MIN_RESTORED, Residency
from backends.engine.runner import Job, Runner
from backends.engine.sequence import Sequence
from backends.events import Status, Token
from tests.engine.answers import GREEDY, Answer, ask, read
from tests.engine.conftest import StartEngine

SYSTEM = "the annual plan and the invoice of the refund, pause the plan. " * 8
RESIDENCIES = ("host", "device")


@pytest.fixture(autouse=True)
def always_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether restoring pays depends on the machine's mood; here it always does."""
    monkeypatch.setattr(Costs, "worth_restoring", lambda self, tokens, size: True)


class Work:
    """What llama.cpp was asked to compute."""

    def __init__(self) -> None:
        self.tokens = 0
        self.restored = self.saved = 0

    def take(self) -> int:
        """Tokens computed since the last call."""
        taken, self.tokens = self.tokens, 0
        return taken


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    seen = Work()
    decode, restore, save = Runner.decode, Runner.restore, Runner.save

    def counting_decode(self: Runner, jobs: list[Job]) -> int:
        code = decode(self, jobs)
        if code == 0:
            seen.tokens += sum(len(job.tokens) for job in jobs)
        return code

    def counting_restore(self: Runner, slot: int, state: Any) -> bool:
        seen.restored += 1
        return restore(self, slot, state)

    def counting_save(self: Runner, slot: int) -> Any:
        seen.saved += 1
        return save(self, slot)

    monkeypatch.setattr(Runner, "decode", counting_decode)
    monkeypatch.setattr(Runner, "restore", counting_restore)
    monkeypatch.setattr(Runner, "save", counting_save)
    return seen


def chat(*contents: str, system: str = SYSTEM, max_tokens: int = 12) -> ChatRequest:
    """A conversation whose turns alternate, the user first."""
    turns = [Message("assistant" if index % 2 else "user", content) for index, content in enumerate(contents)]
    return ChatRequest((Message("system", system), *turns), max_tokens=max_tokens, sampling=GREEDY)


async def answer_to(engine: Engine, request: ChatRequest) -> Answer:
    return await read(engine.stream(request))


def cached(answer: Answer) -> int:
    """Cached tokens, the same wherever they are told."""
    count, statuses = answer.metas[0].cached_tokens, answer.statuses("prefilling")
    assert count is not None
    assert {status.cached for status in statuses} == {count}
    assert statuses[0].done == count
    assert statuses[0].total == answer.metas[0].prompt_tokens
    return count


def computed(answer: Answer) -> int:
    """What an answer makes llama.cpp compute: the rest of its prompt, and all of the answer but its last token."""
    return (answer.metas[0].prompt_tokens or 0) - cached(answer) + answer.done.total_tokens - 1


async def settled(engine: Engine) -> Residency:
    """What is kept, once the scheduler has nothing left to do."""
    steps = engine._steps
    assert steps is not None
    while steps._live or steps._inbox.is_full or steps._running or steps._memory.unsettled:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    return steps._memory


@pytest.mark.parametrize("residency", RESIDENCIES)
async def test_turns_that_go_on_compute_only_what_is_new(start: StartEngine, work: Work, residency: str) -> None:
    engine = await start(kv_residency=residency, draft="off")
    plain = await start(kv_residency="none")
    turns, answers = ["pause"], []
    for _ in range(4):
        without = await answer_to(plain, chat(*turns))
        assert cached(without) == 0
        await settled(engine)
        work.take()
        answers.append(await answer_to(engine, chat(*turns)))
        assert answers[-1].text == without.text
        assert work.take() == computed(answers[-1])
        turns += [answers[-1].text, "refund the plan"]
    assert cached(answers[0]) == 0
    for before, after in pairwise(answers):
        assert cached(after) >= (before.metas[0].prompt_tokens or 0)
    assert work.restored == 0, "nobody else began: it is still in the KV cache"


@pytest.mark.parametrize("residency", RESIDENCIES)
async def test_conversations_that_take_turns_compute_only_what_is_new(
    start: StartEngine, work: Work, residency: str
) -> None:
    engine, plain = await start(kv_residency=residency, draft="off"), await start(kv_residency="none")
    conversations = {"1 " + SYSTEM: ["pause"], "2 " + SYSTEM: ["pause"]}
    for turn in range(3):
        for system, turns in conversations.items():
            without = await answer_to(plain, chat(*turns, system=system))
            memory = await settled(engine)
            assert sum(1 for _ in memory.cache.resident()) <= (1 if residency == "host" else 6)
            answer = await answer_to(engine, chat(*turns, system=system))
            assert answer.text == without.text
            assert (cached(answer) > 180) == (turn > 0)
            turns += [answer.text, "refund the plan"]
    assert work.restored == (4 if residency == "host" else 0)


@pytest.mark.parametrize("residency", RESIDENCIES)
async def test_the_same_again_computes_one_token_of_the_prompt(start: StartEngine, residency: str) -> None:
    engine = await start(kv_residency=residency)
    first, again = await answer_to(engine, chat("pause")), await answer_to(engine, chat("pause"))
    prompt = first.metas[0].prompt_tokens
    assert (cached(first), cached(again)) == (0, (prompt or 0) - 1)
    assert first.text == again.text
    spans = {span.stage: span for span in again.metas[0].spans}
    assert set(spans) == {"provider_queue", "prefill", "decode_first_token"}


async def test_what_computing_and_copying_cost_is_measured(start: StartEngine, work: Work) -> None:
    engine = await start()
    costs = (await settled(engine)).costs
    guess = costs.saved_byte, costs.restored_byte
    assert costs.token == 0
    for system in (SYSTEM, "2 " + SYSTEM, SYSTEM):
        await answer_to(engine, chat("pause", system=system))
        await settled(engine)
    assert 1e-7 < costs.token < 10
    assert work.restored == 1
    assert costs.saved_byte != guess[0]
    assert costs.restored_byte != guess[1]


async def test_where_copying_is_dear_it_is_computed_again(
    start: StartEngine, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await start()
    monkeypatch.setattr(Costs, "worth_restoring", lambda self, tokens, size: False)
    monkeypatch.setattr(Engine, "_foresee", lambda *_: None)  # which may be copied out a second time
    for system in (SYSTEM, "2 " + SYSTEM, SYSTEM):
        assert cached(await answer_to(engine, chat("pause", system=system))) == 0
        await settled(engine)
    assert (work.saved, work.restored) == (2, 0)


async def test_conversations_share_their_system_prompt(start: StartEngine, work: Work) -> None:
    engine, plain = await start(), await start(kv_residency="none")
    for content in ("pause", "refund", "invoice the plan"):
        await settled(engine)
        answer = await answer_to(engine, chat(content))
        assert answer.text == (await answer_to(plain, chat(content))).text
        if content != "pause":
            assert engine.count_tokens(SYSTEM) <= cached(answer) < engine.count_tokens(SYSTEM) + 12
        await settled(engine)
        await answer_to(engine, chat(content, system="2 " + SYSTEM))
    assert work.restored == 4


async def test_a_running_answer_lends_its_prefix(start: StartEngine, work: Work) -> None:
    engine, plain = await start(), await start(kv_residency="none")
    long = chat("pause", max_tokens=200)
    async with aclosing(cast("Any", engine.stream(long))) as running:
        events = [await anext(running)]
        while not isinstance(events[-1], Token):
            events.append(await anext(running))
        other = await answer_to(engine, chat("refund"))
        assert cached(other) >= engine.count_tokens(SYSTEM)
        events += [event async for event in running]
    assert work.restored == 0
    assert other.text == (await answer_to(plain, chat("refund"))).text
    assert Answer(events).text == (await answer_to(plain, long)).text


@pytest.mark.parametrize("residency", RESIDENCIES)
async def test_what_a_cancelled_request_computed_is_kept(start: StartEngine, residency: str) -> None:
    engine, plain = await start(kv_residency=residency, prefill_chunk=16), await start(kv_residency="none")
    async with aclosing(cast("Any", engine.stream(chat("pause")))) as running:
        async for event in running:
            if isinstance(event, Status) and event.done >= 96:
                break
    answer = await answer_to(engine, chat("pause"))
    assert cached(answer) >= 96
    assert answer.text == (await answer_to(plain, chat("pause"))).text


async def test_the_copies_never_take_more_than_their_limit(start: StartEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """About 200 tokens of 768 bytes each: 1 MiB holds six of eight conversations, the last ones."""
    engine = await start(kv_host_mib=1)
    systems = [f"{number} " + SYSTEM for number in range(8)]
    save, peak = Runner.save, 0

    def watched(self: Runner, slot: int) -> Any:
        nonlocal peak
        state = save(self, slot)
        assert engine._steps is not None
        peak = max(peak, engine._steps._memory.cache.state_bytes + state.nbytes)
        return state

    monkeypatch.setattr(Runner, "save", watched)
    firsts = [await answer_to(engine, chat("pause", system=system)) for system in systems]
    assert 600_000 < peak < (1 << 20) + 4096, "nor while a copy is made, but for its head"
    kept = (await settled(engine)).cache
    assert 4 <= len(kept) <= 7
    assert 600_000 < kept.state_bytes <= 1 << 20
    for system, first in list(zip(systems, firsts, strict=True))[::-1]:
        assert (await answer_to(engine, chat("pause", system=system))).text == first.text
    oldest = await answer_to(engine, chat("pause", system=systems[-1]))
    assert oldest.text == firsts[-1].text


async def test_in_the_kv_cache_the_least_recently_used_make_room(start: StartEngine, work: Work) -> None:
    """512 cells: two conversations of 200 tokens rest there, a third pushes the first out, to come back as a copy."""
    engine = await start(kv_residency="device", kv_cells=512)
    systems = [f"{number} " + SYSTEM for number in range(4)]
    firsts = [await answer_to(engine, chat("pause", system=system)) for system in systems]
    kept = await settled(engine)
    assert work.saved >= 1
    assert 0 < kept.cells.used <= 512
    for system, first in zip(systems, firsts, strict=True):
        again = await answer_to(engine, chat("pause", system=system))
        assert cached(again) == (again.metas[0].prompt_tokens or 0) - 1
        assert again.text == first.text
    assert work.restored >= 1


async def test_a_request_for_all_cells_gets_them(start: StartEngine) -> None:
    engine = await start(kv_residency="device", kv_cells=512)
    await answer_to(engine, chat("pause"))
    await answer_to(engine, chat("pause", system="2 " + SYSTEM))
    whole = await ask(engine, "refund", 480)
    assert whole.done.total_tokens == 480
    assert not whole.statuses("queued")


async def test_switched_off_nothing_is_kept(start: StartEngine, work: Work) -> None:
    engine = await start(kv_residency="none")
    answers = [await answer_to(engine, chat("pause")) for _ in range(3)]
    assert [cached(answer) for answer in answers] == [0, 0, 0]
    together = await asyncio.gather(*(answer_to(engine, chat("pause")) for _ in range(3)))
    assert [cached(answer) for answer in together] == [0, 0, 0]
    assert (work.saved, work.restored) == (0, 0)
    assert len((await settled(engine)).cache) == 0


async def test_short_prefixes_are_computed_again(start: StartEngine, work: Work) -> None:
    engine = await start()
    for _ in range(2):
        answer = await ask(engine, "pause")
        assert (answer.metas[0].prompt_tokens or 0) < MIN_RESTORED
        await settled(engine)
    assert (work.saved, work.restored) == (0, 0)


async def test_who_asks_the_same_meanwhile_waits_and_shares(start: StartEngine, slow: Path, work: Work) -> None:
    """Four at once, one of which computes the prefix that they have in common."""
    plain = await start(model=str(slow), kv_residency="none")
    requests = [chat(content, system=SYSTEM * 2) for content in ("pause", "refund", "invoice", "the plan")]
    alone = [(await answer_to(plain, request)).text for request in requests]
    engine = await start(model=str(slow), prefill_chunk=64, draft="off")
    shared = engine.count_tokens(SYSTEM * 2)
    work.take()
    answers = await asyncio.gather(*(answer_to(engine, request) for request in requests))
    assert [answer.text for answer in answers] == alone
    assert sorted(cached(answer) >= shared for answer in answers) == [False, True, True, True]
    assert work.take() == sum(computed(answer) for answer in answers) < 2 * shared
    for answer in answers:
        queue, prefill = answer.metas[0].spans[:2]
        assert (queue.stage, prefill.stage) == ("provider_queue", "prefill")
        if cached(answer):
            assert queue.duration > prefill.duration


def _followers(steps: StepLoop) -> int:
    """How many wait for a prefix that another computes."""
    return sum(it.started_ms is None for it in list(steps._running))


async def test_when_the_one_who_computes_leaves_another_takes_over(start: StartEngine, slow: Path, work: Work) -> None:
    plain = await start(model=str(slow), kv_residency="none")
    system = SYSTEM * 3
    alone = [(await answer_to(plain, chat(content, system=system))).text for content in ("refund", "invoice")]
    engine = await start(model=str(slow), prefill_chunk=32)
    steps = engine._steps
    assert steps is not None
    work.take()
    async with aclosing(cast("Any", engine.stream(chat("pause", system=system)))) as running:
        await anext(running)
        waiting = [
            asyncio.create_task(answer_to(engine, chat(content, system=system))) for content in ("refund", "invoice")
        ]
        async for event in running:
            if _followers(steps) == 2 or (isinstance(event, Status) and event.status != "prefilling"):
                break
    answers = [await task for task in waiting]
    assert [answer.text for answer in answers] == alone
    assert all(cached(answer) > 0 for answer in answers)
    assert work.take() < 2 * engine.count_tokens(system)


async def test_a_chat_lends_its_priority_to_the_prefix_that_a_batch_request_computes(
    start: StartEngine, slow: Path, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A prompt of middle priority goes before the batch request's, but not before what the chat shares with that."""
    plain, engine = await start(model=str(slow), kv_residency="none"), await start(model=str(slow), prefill_chunk=32)
    requests = {
        "batch": chat("pause", system=SYSTEM * 3),
        "summarize": chat("invoice " * 100, system=""),
        "chat": chat("refund", system=SYSTEM * 3),
    }
    alone = {feature: (await answer_to(plain, it)).text for feature, it in requests.items()}
    work.take()
    answers: dict[str, Answer] = {}
    order: list[str] = []
    submit, decode, all_here, here = StepLoop.submit, Runner.decode, threading.Event(), []

    def counting_submit(self: StepLoop, sequence: Sequence) -> None:
        submit(self, sequence)
        here.append(sequence)
        if len(here) == len(requests):
            all_here.set()

    def patient_decode(self: Runner, jobs: list[Job]) -> int:
        assert all_here.wait(60)
        return decode(self, jobs)

    async def read_noting(feature: str, it: ChatRequest) -> None:
        events = []
        async for event in engine.stream(msgspec.structs.replace(it, feature=feature)):
            if isinstance(event, Token) and feature not in order:
                order.append(feature)
            events.append(event)
        answers[feature] = Answer(events)

    monkeypatch.setattr(StepLoop, "submit", counting_submit)
    monkeypatch.setattr(Runner, "decode", patient_decode)
    await asyncio.gather(*(read_noting(feature, it) for feature, it in requests.items()))
    assert {feature: answer.text for feature, answer in answers.items()} == alone
    assert order == ["chat", "summarize", "batch"]
    assert cached(answers["summarize"]) == 0
    everything = sum((answer.metas[0].prompt_tokens or 0) + 12 for answer in answers.values())
    assert work.take() < everything - engine.count_tokens(SYSTEM * 3) + 64


async def test_a_waiter_may_leave_too(start: StartEngine, slow: Path) -> None:
    engine = await start(model=str(slow), prefill_chunk=32)
    steps = engine._steps
    assert steps is not None
    system = SYSTEM * 3
    first = asyncio.create_task(answer_to(engine, chat("pause", system=system)))
    second = asyncio.create_task(answer_to(engine, chat("refund", system=system)))
    while not _followers(steps) and not first.done():  # noqa: ASYNC110
        await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    assert (await first).done.finish_reason == "length"
    await settled(engine)


@pytest.mark.parametrize("residency", [*RESIDENCIES, "none"])
async def test_random_company_changes_nothing(start: StartEngine, residency: str) -> None:
    """Forty requests that begin alike in many ways, some cancelled, in few cells; all accounts hold at every step."""
    chance = random.Random(residency)
    plain = await start(kv_residency="none")
    systems = [SYSTEM, SYSTEM[:200] + "pause " * 20, "refund " * 30, ""]
    requests = [
        chat(*chance.choices(["pause", "the plan", "invoice " * 12], k=chance.choice([1, 3])), system=system)
        for system in systems
        for _ in range(3)
    ]
    alone = {request: (await answer_to(plain, request)).text for request in requests}
    engine = await start(kv_residency=residency, kv_cells=800, kv_host_mib=1, prefill_chunk=24, max_streams=3)

    async def one(request: ChatRequest, patience: int) -> None:
        stream = cast("Any", engine.stream(request))
        async with aclosing(stream) as events:
            seen = [event async for event in _first(events, patience)]
        if patience > 100:
            assert Answer(seen).text == alone[request]

    for _ in range(5):
        await asyncio.gather(*(one(chance.choice(requests), chance.choice([2, 5, 1000, 1000])) for _ in range(8)))
    await settled(engine)
    assert engine.state == "ready"


async def _first(events: Any, count: int) -> Any:
    async for event in events:
        yield event
        count -= 1
        if not count:
            return
