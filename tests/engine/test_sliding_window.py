"""Models with sliding windows: what they go on from has all that their windows look at, and no answer changes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from backends.backend import ChatRequest, Message
from backends.engine import Engine, EngineOptions
from backends.engine.draft_length import Lengths, Want
from backends.engine.prefix_cache import Costs
from backends.engine.runner import Job, Runner
from backends.engine.sampler import Floats
from backends.engine.speculation import Speculation
from tests.engine.answers import GREEDY, Answer, read
from tests.engine.conftest import EXACT, StartEngine
from tests.engine.test_context_shift import N_CTX, twin
from tests.fakes.sliding_model import write_sliding_model

WINDOW = 32
SYSTEM = "the annual plan and the invoice of the refund, pause the plan. " * 5


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sliding_model(tmp_path_factory.mktemp("models") / "sliding.gguf", window=WINDOW)


@pytest.fixture(scope="module")
def loaded(model: Path) -> Iterator[Runner]:
    runner = Runner(EngineOptions(model=str(model), **EXACT), lambda part: True)
    yield runner
    runner.close()


@pytest.fixture
def runner(loaded: Runner) -> Iterator[Runner]:
    """Empty before and after."""
    yield loaded
    for slot in range(loaded.slots):
        loaded.remove(slot, 0)


@pytest.fixture(autouse=True)
def always_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether restoring pays depends on the machine's mood; here it always does."""
    monkeypatch.setattr(Costs, "worth_restoring", lambda self, tokens, size: True)


def chat(*contents: str, max_tokens: int = 90) -> ChatRequest:
    turns = [Message("assistant" if index % 2 else "user", content) for index, content in enumerate(contents)]
    return ChatRequest((Message("system", SYSTEM), *turns), max_tokens=max_tokens, sampling=GREEDY)


async def answer_to(engine: Engine, request: ChatRequest) -> Answer:
    return await read(engine.stream(request))


def say(runner: Runner, slot: int, start: int, tokens: list[int]) -> Floats:
    """The logits behind `tokens`, which are computed in `slot` from position `start` on."""
    assert runner.decode([Job(slot, start, tokens, 1)]) == 0
    return runner.logits(0).copy()


def same(one: Floats, other: Floats) -> bool:
    """But for the order of sums: where a window misses something, logits differ by about 1."""
    return bool(np.allclose(one, other, atol=1e-2))


def test_what_a_token_costs_and_what_a_copy_has(runner: Runner) -> None:
    """The cache has every token for all layers, 2 x 4 layers x 2 heads x 16 x 4 bytes; a copy has those of the two
    windowed layers for the last window only."""
    assert runner.info.kv_bytes_per_token == 2 * 4 * 2 * 16 * 4
    tokens = runner.tokenize(SYSTEM, False)
    sizes = []
    for count in (WINDOW, 3 * WINDOW):
        say(runner, 0, 0, tokens[:count])
        sizes.append(runner.save(0).nbytes)
        runner.remove(0, 0)
    added = (sizes[1] - sizes[0]) / (2 * WINDOW)
    whole = runner.info.kv_bytes_per_token / 2
    assert whole <= added < whole + 32, "and what each cell is for"


def test_what_windows_look_at_is_there_or_it_is_said_that_it_is_not(runner: Runner) -> None:
    tokens = runner.tokenize(SYSTEM, False)
    part = len(tokens) // 2
    assert part > WINDOW
    expected = say(runner, 0, 0, tokens)
    runner.remove(0, part)
    say(runner, 0, part, [5] * (2 * WINDOW))
    assert runner.remove(0, part), "nobody has needed its cells"
    assert same(say(runner, 0, part, tokens[part:]), expected)
    long = runner.save(0)
    runner.remove(0, part)
    short = runner.save(0)
    assert runner.restore(1, short)
    assert same(say(runner, 1, part, tokens[part:]), expected)
    assert not same(say(runner, 2, 0, tokens[part:]), expected)
    assert runner.restore(3, long)
    assert not runner.remove(3, part), "the copy has the last window only"
    assert runner.positions(3) == 0


def test_cells_that_a_window_has_passed_are_given_to_others(runner: Runner) -> None:
    """Why nothing is shared here: `swa_full` or not, what is kept may lack its beginning in the windowed layers."""
    tokens = (runner.tokenize(SYSTEM, False) * 2)[:200]
    for slot in (0, 1):
        say(runner, slot, 0, tokens)
    assert runner.remove(0, 190)
    say(runner, 0, 190, tokens[:64])  # goes on behind the gap, where the cells of 1 are
    assert not runner.remove(1, 60)
    assert runner.positions(1) == 0


@pytest.mark.parametrize("residency", ["host", "device"])
async def test_turns_and_relatives_say_what_a_fresh_engine_says(
    start: StartEngine, model: Path, residency: str
) -> None:
    engine = await start(model=str(model), kv_residency=residency, draft="off")
    plain = await start(model=str(model), kv_residency="none", draft="off", max_streams=1)
    turns = ["pause"]
    for _ in range(3):
        expected = await answer_to(plain, chat(*turns))
        answer = await answer_to(engine, chat(*turns))
        assert answer.text == expected.text
        assert bool(answer.metas[0].cached_tokens) == (len(turns) > 1)
        turns += [answer.text, "refund the plan"]
    others = [chat(turns[0], turns[1][:40], "invoice"), chat("invoice"), chat("plan"), chat(*turns[:3])]
    answers = await asyncio.gather(*(answer_to(engine, request) for request in others))
    assert [answer.text for answer in answers] == [(await answer_to(plain, request)).text for request in others]
    assert [bool(answer.metas[0].cached_tokens) for answer in answers] == [True, False, False, True]


@pytest.mark.parametrize("draft", ["itself", "another", "ngram"])
async def test_drafts_change_nothing(
    start: StartEngine, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, draft: str
) -> None:
    chance = random.Random(1)

    def choose(wants: list[Want], *_: object) -> Lengths:
        return Lengths({want.key: chance.randint(1, want.most) for want in wants if chance.random() < 0.9}, 2.0)

    monkeypatch.setattr("backends.engine.speculation.choose", choose)
    monkeypatch.setattr(Speculation, "_may_draft", lambda *_: True)
    monkeypatch.setattr(Speculation, "_worth_reading", lambda *_: True)
    plain = await start(model=str(model), draft="off")
    path = write_sliding_model(tmp_path / "other.gguf", seed=11) if draft == "another" else model
    options = {"draft": "ngram"} if draft == "ngram" else {"draft_model": str(path), "draft": "model"}
    engine = await start(model=str(model), **options)
    requests = [chat("pause"), chat("invoice " * 20), chat("refund the plan " * 5)]
    expected = [await answer_to(plain, request) for request in requests]
    answers = await asyncio.gather(*(answer_to(engine, request) for request in requests))
    assert [answer.text for answer in answers] == [answer.text for answer in expected]
    drafted = sum(answer.metas[-1].draft_tokens or 0 for answer in answers)
    accepted = sum(answer.metas[-1].accepted_tokens or 0 for answer in answers)
    assert drafted
    assert (accepted == drafted) == (draft == "itself")


async def test_a_full_context_goes_on_with_what_is_left(start: StartEngine, model: Path, runner: Runner) -> None:
    engine = await start(model=str(model), n_ctx=N_CTX, on_full="shift", draft="off")
    request = chat("pause", max_tokens=300)
    answer = await answer_to(engine, request)
    text, left_out = twin(runner, request, 300, moves=False)
    assert answer.text == text
    assert answer.done.detail == f"the {left_out} oldest tokens were left out: the context holds {N_CTX}"
