"""Speculative decoding on the real llama.cpp: whatever is drafted, the answers are those without drafts.

`drafting` makes drafts of random lengths, whether they pay or not; when they do is test_draft_length.py's.
"""

from __future__ import annotations

import asyncio
import random
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends import demo
from backends.backend import ChatRequest, Message, Sampling
from backends.engine import Engine, EngineOptions
from backends.engine.detokenizer import Detokenizer
from backends.engine.draft_length import Lengths, Want
from backends.engine.draw import Draw
from backends.engine.runner import ABORTED, Job, Runner
from backends.engine.sequence import Sequence
from backends.engine.speculation import Speculation
from backends.engine.template import tokenize
from backends.errors import BackendError, Code
from backends.events import Meta, Token
from backends.rag.prompt import render_source, render_user_turn
from tests.engine.answers import GREEDY, Answer, ask, read, request
from tests.engine.conftest import EXACT, StartEngine
from tests.fakes.gguf_model import write_model

CONTENTS = ["pause", "the annual plan " * 12, "refund " * 30, "invoice the plan and pause the invoice"]


class Pair:
    """Paths of a target and of drafts that agree with it always, mostly and never."""

    def __init__(self, folder: Path) -> None:
        self.target = write_model(folder / "target.gguf", layers=1, silent=2, noise=0.04)
        self.good = write_model(folder / "good.gguf", layers=1)
        self.bad = write_model(folder / "bad.gguf", layers=1, seed=11)
        self.drafts = {"same": self.target, "good": self.good, "bad": self.bad}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(tmp_path_factory.mktemp("pair"))


@pytest.fixture
def drafting(monkeypatch: pytest.MonkeyPatch) -> random.Random:
    """Drafts of random lengths for everyone in every step."""
    chance = random.Random(1)

    def choose(wants: list[Want], *_: Any) -> Lengths:
        return Lengths({want.key: chance.randint(1, want.most) for want in wants if chance.random() < 0.9}, 2.0)

    monkeypatch.setattr("backends.engine.speculation.choose", choose)
    monkeypatch.setattr(Speculation, "_may_draft", lambda *_: True)
    monkeypatch.setattr(Speculation, "_worth_reading", lambda *_: True)
    return chance


def kept(answer: Answer) -> float:
    """The share of the drafted tokens that was accepted; there were some."""
    last = answer.metas[-1]
    assert last.draft_tokens
    assert last.accepted_tokens is not None
    return last.accepted_tokens / last.draft_tokens


def sampled(seed: int, temperature: float = 1.5, **rule: Any) -> Sampling:
    return Sampling(temperature=temperature, seed=seed, **rule)


SAMPLINGS = [GREEDY, sampled(3), sampled(4, 0.8), sampled(5, top_k=0, top_p=1, min_p=0)]


@pytest.mark.usefixtures("drafting")
@pytest.mark.parametrize("draft", ["same", "good", "bad", "ngram"])
async def test_every_answer_is_the_one_without_drafts(start: StartEngine, pair: Pair, draft: str) -> None:
    """Alone and in company, greedy and sampled: the same tokens for the same seed."""
    plain = await start(model=str(pair.target), draft="off")
    options = {"draft": "ngram"} if draft == "ngram" else {"draft": "model", "draft_model": str(pair.drafts[draft])}
    engine = await start(model=str(pair.target), prefill_chunk=24, n_batch=64, **options)
    rules = list(zip(CONTENTS, SAMPLINGS, strict=True))
    expected = [await ask(plain, content, 60, sampling=rule) for content, rule in rules]
    alone = [await ask(engine, content, 60, sampling=rule) for content, rule in rules]
    together = await asyncio.gather(*(ask(engine, content, 60, sampling=rule) for content, rule in rules))
    for answers in (alone, together):
        assert [answer.text for answer in answers] == [answer.text for answer in expected]
        assert [answer.tokens for answer in answers] == [answer.done.total_tokens for answer in answers] == [60] * 4
    if draft == "same":
        assert [kept(answer) for answer in alone] == [1.0] * 4, "the same model with the same dice is always right"
    elif draft == "good":
        assert all(kept(answer) > 0.3 for answer in alone)
    elif draft == "bad":
        assert all(kept(answer) < 0.3 for answer in alone)


RULES = [
    sampled(5, 1.0, repetition_penalty=1.4, presence_penalty=0.5, dry_multiplier=0.8),
    sampled(6, 0.0, frequency_penalty=0.7, logit_bias=(("the", 2.0),)),
    sampled(7, grammar='root ::= ("the" | " plan" | " invoice" | "?")+'),
    sampled(8, 0.0, top_logprobs=2),
]


@pytest.mark.usefixtures("drafting")
@pytest.mark.parametrize("sampling", RULES, ids=["penalties", "greedy penalties and bias", "grammar", "logprobs"])
async def test_rules_that_look_back_hold_within_drafts(start: StartEngine, pair: Pair, sampling: Sampling) -> None:
    plain = await start(model=str(pair.target), draft="off")
    engine = await start(model=str(pair.target), draft_model=str(pair.good))
    expected, answer = [await ask(each, "the plan", 60, sampling=sampling) for each in (plain, engine)]
    assert answer.text == expected.text
    assert answer.done.total_tokens == expected.done.total_tokens
    ids = [
        [entry.token for event in each.events if isinstance(event, Token) for entry in event.logprobs]
        for each in (expected, answer)
    ]
    assert ids[0] == ids[1]
    assert len(ids[0]) == (60 if sampling.top_logprobs else 0)
    assert answer.metas[-1].draft_tokens


@pytest.mark.usefixtures("drafting")
async def test_drafted_tokens_have_the_targets_distribution(start: StartEngine, pair: Pair, tmp_path: Path) -> None:
    """The second and third token of many answers against the model's own probabilities, by chi-square.

    Their drafts are those of a model that is often wrong, so that accepting, missing and what is said instead all come
    up. Seeds are fixed. It is some 320 when half of the missed tokens are accepted anyway, and 42 when what follows a
    miss is drawn without knowing of it (tried); 31.6 is allowed.
    """
    target = write_model(tmp_path / "target.gguf", layers=1, silent=2, noise=0.3)
    rule = {"temperature": 1.2, "top_k": 3, "top_p": 1.0, "min_p": 0.0}
    engine = await start(model=str(target), draft="model", draft_model=str(pair.good), max_streams=1, max_queue=100)
    answers, drafted, accepted = [], 0, 0
    for first in range(0, 1000, 100):
        batch = (ask(engine, "pause", 3, sampling=Sampling(seed=seed, **rule)) for seed in range(first, first + 100))
        for answer in await asyncio.gather(*batch):
            answers.append(answer.text)
            drafted += answer.metas[-1].draft_tokens or 0
            accepted += answer.metas[-1].accepted_tokens or 0
    assert 0.2 < accepted / drafted < 0.9
    expected = _probabilities(engine, target, Draw(**rule))
    seen = {text: answers.count(text) for text in set(answers)}
    assert set(seen) <= set(expected)
    likely = {text: p for text, p in expected.items() if p * len(answers) >= 5}
    chi_square = sum((seen.get(text, 0) - p * len(answers)) ** 2 / (p * len(answers)) for text, p in likely.items())
    assert len(likely) > 8
    assert chi_square < len(likely) + 4 * np.sqrt(2 * len(likely)), "1 in 10,000 by chance"


def _probabilities(engine: Engine, target: Path, rule: Draw) -> dict[str, float]:
    """Of every text of three tokens after the prompt "pause", computed token by token."""
    template = engine._template
    assert template is not None
    runner = Runner(EngineOptions(model=str(target), draft="off", **EXACT), lambda part: True)
    prompt = tokenize(template.render((Message("user", "pause"),), None), runner.tokenize, runner.bos)
    sampler = runner.make_sampler(rule)

    def walk(tokens: list[int], p: float, depth: int) -> dict[str, float]:
        if depth == 3:
            return {b"".join(runner.piece(token) for token in tokens).decode(): p}
        runner.remove(0, 0)
        assert runner.decode([Job(0, 0, prompt + tokens, 1)]) == 0
        found: dict[str, float] = {}
        ids, probabilities = sampler.distribution(0)
        for token, each in zip(ids.tolist(), probabilities.tolist(), strict=True):
            for text, q in walk([*tokens, token], p * each, depth + 1).items():
                found[text] = found.get(text, 0.0) + q
        return found

    try:
        return walk([], 1.0, 0)
    finally:
        sampler.close()
        runner.close()


@pytest.mark.usefixtures("drafting")
async def test_an_answer_that_ends_within_a_draft_ends_there(start: StartEngine, pair: Pair) -> None:
    """By a stop string or its limit; what is kept of it is right: the next turn goes on from it."""
    plain = await start(model=str(pair.target), draft="off")
    engine = await start(model=str(pair.target), draft_model=str(pair.target), draft_max=16)
    whole = (await ask(plain, "pause", 60)).text
    for at in range(5, 45, 7):
        stop = Sampling(temperature=0, stop=(whole[at : at + 3],))
        expected, answer = [await ask(each, "pause", 60, sampling=stop) for each in (plain, engine)]
        assert answer.text == expected.text == whole[: whole.index(whole[at : at + 3])]
        assert (answer.done.total_tokens, answer.done.finish_reason) == (expected.done.total_tokens, "stop")
        limited = await ask(engine, "pause", at)
        assert (limited.text, limited.done.finish_reason) == ((await ask(plain, "pause", at)).text, "length")
        turns = (Message("user", "pause"), Message("assistant", answer.text), Message("user", "refund"))
        follow_up = ChatRequest(turns, max_tokens=30, sampling=GREEDY)
        expected, after = await read(plain.stream(follow_up)), await read(engine.stream(follow_up))
        assert after.text == expected.text


@pytest.mark.usefixtures("drafting")
async def test_the_end_of_turn_may_be_drafted(start: StartEngine, tmp_path: Path) -> None:
    model = str(write_model(tmp_path / "ends.gguf", end_gain=3.0))
    plain, engine = await start(model=model, draft="off"), await start(model=model, draft_model=model)
    for content in CONTENTS:
        expected, answer = await ask(plain, content, 400), await ask(engine, content, 400)
        assert (answer.text, answer.done.finish_reason) == (expected.text, "stop")
        assert answer.done.total_tokens == expected.done.total_tokens


@pytest.mark.usefixtures("drafting")
@pytest.mark.parametrize("residency", ["host", "device", "none"])
async def test_conversations_share_prefixes_of_both_models(start: StartEngine, pair: Pair, residency: str) -> None:
    """Four conversations of three turns, side by side, in a cache that is too small to keep them all."""
    plain = await start(model=str(pair.target), draft="off", kv_residency="none")
    engine = await start(
        model=str(pair.target), draft_model=str(pair.good), kv_residency=residency, kv_cells=1100, max_streams=3
    )

    async def talk(engine: Engine, name: str) -> list[str]:
        said: list[str] = []
        turns = [Message("system", "the annual plan and the invoice " * 6)]
        for content in (name, "refund", "pause"):
            turns.append(Message("user", content))
            answer = await read(engine.stream(ChatRequest(tuple(turns), max_tokens=24, sampling=GREEDY)))
            said.append(answer.text)
            turns.append(Message("assistant", said[-1]))
        return said

    names = ["pause", "invoice", "plan", "user"]
    expected = [await talk(plain, name) for name in names]
    assert list(await asyncio.gather(*(talk(engine, name) for name in names))) == expected
    assert await talk(engine, "plan") == expected[2]


@pytest.mark.usefixtures("drafting")
async def test_what_is_promised_is_enough_for_drafts(start: StartEngine, pair: Pair) -> None:
    """The cache holds the prompt, the answer and not one cell more."""
    plain = await start(model=str(pair.target), draft="off")
    expected = await ask(plain, "pause", 64)
    prompt = expected.metas[0].prompt_tokens
    assert prompt is not None
    total = -(-(prompt + 64) // 256) * 256  # llama.cpp rounds the cache up
    engine = await start(model=str(pair.target), draft_model=str(pair.target), n_ctx=total, kv_cells=total)
    answers = await asyncio.gather(*(ask(engine, "pause", total - prompt) for _ in range(3)))
    assert {answer.text for answer in answers} == {(await ask(plain, "pause", total - prompt)).text}


@pytest.mark.usefixtures("drafting")
async def test_cancelling_a_drafting_stream_disturbs_nobody(start: StartEngine, pair: Pair) -> None:
    engine = await start(model=str(pair.target), draft_model=str(pair.good), max_streams=3)
    plain = await start(model=str(pair.target), draft="off")
    expected = [(await ask(plain, content, 80)).text for content in CONTENTS[:2]]
    for _ in range(3):
        neighbours = [asyncio.create_task(ask(engine, content, 80)) for content in CONTENTS[:2]]
        stream = engine.stream(request("refund", 400))
        seen = 0
        async for event in stream:
            seen += isinstance(event, Token)
            if seen > 2:
                break
        await stream.aclose()
        assert [(await task).text for task in neighbours] == expected


@pytest.mark.usefixtures("drafting")
async def test_a_failed_step_is_done_again_without_drafts(
    start: StartEngine, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await start(model=str(pair.target), draft_model=str(pair.good), max_streams=2)
    plain = await start(model=str(pair.target), draft="off")
    asked = list(zip(CONTENTS, (40, 80), strict=False))
    expected = [(await ask(plain, content, tokens)).text for content, tokens in asked]
    decode, failures = Runner.decode, []

    def failing(self: Runner, jobs: list[Job]) -> int:
        if any(job.outputs > 2 for job in jobs):
            decode(self, jobs)
            failures.append(len(jobs))
            return -3
        return decode(self, jobs)

    monkeypatch.setattr(Runner, "decode", failing)
    answers = await asyncio.gather(*(ask(engine, content, tokens) for content, tokens in asked))
    assert [answer.text for answer in answers] == expected
    assert set(failures) == {1, 2}, "alone and together"


@pytest.mark.usefixtures("drafting")
async def test_a_draft_model_that_fails_is_done_without(
    start: StartEngine, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await start(model=str(pair.target), draft_model=str(pair.good), draft="model")
    plain = await start(model=str(pair.target), draft="off")
    expected = (await ask(plain, "pause", 60)).text
    decode, drafts = Runner.decode, []

    def failing(self: Runner, jobs: list[Job]) -> int:
        if self.info.path == str(pair.good):
            drafts.append(len(jobs))
            if len(drafts) > 12:
                return -3
        return decode(self, jobs)

    monkeypatch.setattr(Runner, "decode", failing)
    assert (await ask(engine, "pause", 60)).text == expected
    failed = len(drafts)
    assert failed == 13, "given up for this sequence"
    assert (await ask(engine, "pause", 60)).text == expected
    assert len(drafts) > failed, "but tried again for the next one"


@pytest.mark.usefixtures("drafting")
async def test_the_reader_hears_how_the_drafts_fare(
    start: StartEngine, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backends.engine.answers.DRAFTS_INTERVAL_MS", 1)
    engine = await start(model=str(pair.target), draft_model=str(pair.target), draft="model")
    told = []
    async for event in engine.stream(request("pause", 100)):
        if isinstance(event, Meta) and event.draft_tokens is not None:
            told.append((event.draft_tokens, event.accepted_tokens))
    assert len(told) > 3
    assert told == sorted(told)
    assert all(drafted == accepted for drafted, accepted in told)


async def test_left_to_itself_it_finds_out_whether_drafts_pay(start: StartEngine, tmp_path: Path) -> None:
    """A target twelve times as dear as its draft, which is always right; how much it drafts is its own choice."""
    shape: dict[str, Any] = {"layers": 1, "width": 128, "context": 1024}
    draft = write_model(tmp_path / "draft.gguf", **shape)
    target = write_model(tmp_path / "target.gguf", silent=11, **shape)
    engine = await start(model=str(target), draft_model=str(draft), draft="model")
    plain = await start(model=str(target), draft="off")
    answer = await ask(engine, "pause", 300)
    assert answer.text == (await ask(plain, "pause", 300)).text
    assert kept(answer) == 1.0


@pytest.mark.usefixtures("drafting")
async def test_copied_text_is_drafted_from_the_prompt() -> None:
    """The demo model, answering from a source."""
    engine = Engine(EngineOptions(model=str(demo.MODEL), draft="ngram"))
    source = render_source("S1", "Pausing", "Annual subscriptions can be paused once for up to 60 days.")
    turns = (Message("user", render_user_turn([source], "Can I pause my annual subscription?")),)
    await engine.ready()
    try:
        answer = await read(engine.stream(ChatRequest(turns, sampling=GREEDY)))
    finally:
        await engine.aclose()
    assert "60 days" in answer.text
    assert kept(answer) > 0.5


def sourced(document: str, question: str) -> Message:
    """A question with three sections of a sample document."""
    sections = [
        section.partition("\n") for section in (demo.DOCUMENTS / document).read_text("utf-8").split("\n## ")[1:4]
    ]
    sources = [render_source(f"S{n}", title, text.strip()) for n, (title, _, text) in enumerate(sections, 1)]
    return Message("user", render_user_turn(sources, question))


def long_conversation() -> ChatRequest:
    """Some 650 tokens for the demo model, which answers with a list of steps."""
    messages = (
        sourced("invoices.md", "Where do I find my invoices?"),
        Message("assistant", "To download an invoice, open Settings > Billing > Invoices and click the PDF icon. [S1]"),
        sourced("taxes.md", "Is VAT charged?"),
        Message("assistant", "VAT of 19 percent is added for customers in Germany. [S1]"),
        sourced("payment-methods.md", "Can I pay by card?"),
        Message("assistant", "We accept Visa and Mastercard. [S1]"),
        sourced("refunds.md", "Explain step by step how I request a refund."),
    )
    return ChatRequest(messages, sampling=GREEDY, max_tokens=40)


@pytest.mark.usefixtures("drafting")
async def test_a_draft_model_reads_a_long_prompt_in_chunks(start: StartEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo pair: in each step no more tokens than fit the time that others may wait, and one for the answer."""
    monkeypatch.setattr("backends.engine.drafter.catch_up", lambda behind, _, most: min(100, behind, most))
    plain = await start(model=str(demo.MODEL), draft="off", max_streams=1)
    engine = await start(model=str(demo.MODEL), draft_model=str(demo.DRAFT), draft="model", max_streams=1)
    decode, steps = Runner.decode, list[tuple[bool, int]]()

    def spy(self: Runner, jobs: list[Job]) -> int:
        steps.append((self.info.path == str(demo.DRAFT), sum(len(job.tokens) for job in jobs)))
        return decode(self, jobs)

    expected = await read(plain.stream(long_conversation()))
    monkeypatch.setattr(Runner, "decode", spy)
    answer = await read(engine.stream(long_conversation()))
    assert answer.text == expected.text
    prompt = answer.metas[0].prompt_tokens or 0
    begun = steps.index((True, 100))
    chunks = prompt // 100 - 1  # the last one may be followed by a draft
    assert chunks > 4
    assert steps[begun : begun + 2 * chunks] == [(True, 100), (False, 1)] * chunks, "the answer goes on between them"
    assert answer.metas[-1].draft_tokens, "and then there are drafts"


@pytest.mark.usefixtures("drafting")
@pytest.mark.parametrize("who", ["the one that is read", "another"])
async def test_a_cancel_waits_for_no_draft_model(start: StartEngine, who: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo pair: the draft model reads all of a long prompt in one go, and only an abort can end that early."""
    monkeypatch.setattr("backends.engine.drafter.catch_up", lambda behind, _, most: min(behind, most))
    plain = await start(model=str(demo.MODEL), draft="off", max_streams=1)
    engine = await start(model=str(demo.MODEL), draft_model=str(demo.DRAFT), draft="model", max_streams=1)
    expected = await read(plain.stream(long_conversation()))
    decode, codes, reading = Runner.decode, list[int](), threading.Event()

    def spy(self: Runner, jobs: list[Job]) -> int:
        if self.info.path != str(demo.DRAFT):
            return decode(self, jobs)
        if len(jobs[0].tokens) > 500 and not reading.is_set():
            reading.set()
            assert engine._steps is not None
            engine._steps._inbox.wait(60)  # for the cancel
        codes.append(decode(self, jobs))
        return codes[-1]

    monkeypatch.setattr(Runner, "decode", spy)
    first = asyncio.create_task(read(engine.stream(long_conversation())))
    assert await asyncio.to_thread(reading.wait, 60)
    if who == "another":
        assert engine._steps is not None
        engine._steps.cancel(Sequence([1], 1, Draw(), Detokenizer(), 0.0))
        answer = await first
    else:
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        answer = await read(engine.stream(long_conversation()))
    assert codes.count(ABORTED) == 1
    assert answer.text == expected.text
    assert answer.metas[-1].draft_tokens, "it is read after all"


async def refusal(pair: Pair, draft: Path) -> BackendError:
    """What loading says about `draft`."""
    engine = Engine(EngineOptions(model=str(pair.target), draft_model=str(draft), **EXACT))
    try:
        with pytest.raises(BackendError) as caught:
            await engine.ready()
    finally:
        await engine.aclose()
    return caught.value


async def test_a_draft_with_another_vocabulary_is_refused_with_the_reason(pair: Pair, tmp_path: Path) -> None:
    other = write_model(tmp_path / "other.gguf", sentencepiece=True)
    error = await refusal(pair, other)
    assert error.code == Code.MODEL_LOAD
    for words in (str(other), "tokenizers are of different types", "draft to ngram or off"):
        assert words in error.message


async def test_a_draft_that_is_not_there_is_named(pair: Pair, tmp_path: Path) -> None:
    error = await refusal(pair, tmp_path / "absent.gguf")
    assert error.code == Code.MODEL_LOAD
    assert "absent.gguf" in error.message


def test_drafting_with_a_model_needs_one() -> None:
    with pytest.raises(ValueError, match="draft_model"):
        EngineOptions(model="x", draft="model")


@pytest.mark.usefixtures("drafting")
async def test_what_the_target_holds_once_may_be_too_much_for_the_draft_model(
    start: StartEngine, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two share a long prompt, and the draft model has read the beginning of it for the younger one only: it has no
    cells for both, and drafts for one of them."""
    plain = await start(model=str(pair.target), draft="off")
    engine = await start(model=str(pair.target), draft_model=str(pair.good), draft="model", n_ctx=512, kv_cells=512)
    long = "refund the invoice and the plan " * 32
    reads: list[int] = []

    def one_chunk_each(self: Speculation, it: Sequence, *_: Any) -> bool:
        keys = sorted(other.key for other in engine._steps._running) if engine._steps else []
        turn = len(keys) == 2 and it.key == keys[1 if not reads else 0]
        reads.extend([it.key] * turn)
        return turn

    monkeypatch.setattr(Speculation, "_worth_reading", one_chunk_each)
    first, second = await asyncio.gather(ask(engine, long, 60), ask(engine, long, 60))
    assert len(set(reads)) == 2
    assert 256 < (first.metas[0].prompt_tokens or 0) < 392
    expected = (await ask(plain, long, 60)).text
    assert (first.text, second.text) == (expected, expected)
