"""Answers that go on in a full context, on the real llama.cpp, against a twin that does the same by hand."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import Any, cast

import pytest

from backends.backend import ChatRequest, Message
from backends.engine import Engine
from backends.engine.prefix_cache import Costs
from backends.engine.runner import Job, Runner
from backends.engine.scheduler import leaves_out
from backends.engine.sequence import Sequence
from backends.engine.template import ChatTemplate, tokenize
from backends.events import Token
from tests.engine.answers import GREEDY, Answer, ask, read
from tests.engine.conftest import StartEngine
from tests.engine.test_speculation import Pair as Drafts
from tests.engine.test_speculation import drafting, pair  # noqa: F401
from tests.fakes.recurrent_model import write_recurrent_model

N_CTX = 256
SYSTEM = "pause the annual plan. " * 10
QUESTION = "refund the invoice " * 6


def chat(question: str = QUESTION, max_tokens: int | None = 500, system: str = SYSTEM) -> ChatRequest:
    return ChatRequest((Message("system", system), Message("user", question)), max_tokens=max_tokens, sampling=GREEDY)


async def answer_to(engine: Engine, request: ChatRequest) -> Answer:
    return await read(engine.stream(request))


def prompt_of(runner: Runner, request: ChatRequest) -> list[int]:
    template = ChatTemplate(runner.chat_template or "", *runner.token_texts())
    return tokenize(template.render(request.messages), runner.tokenize, runner.bos)


def twin(runner: Runner, request: ChatRequest, count: int, *, moves: bool) -> tuple[str, int]:
    """What the model says after `request`, and how many tokens were left out on the way: token by token, the cells
    `moves`d or all that is left computed again."""
    prompt = prompt_of(runner, request)
    other = prompt_of(runner, chat("x", system=request.messages[0].content))
    keep = next(at for at, (one, two) in enumerate(zip(prompt, other, strict=False)) if one != two)
    tokens, said, computed, left_out = list(prompt), list[int](), 0, 0
    memory = runner.library.llama_get_memory(runner._context)
    while len(said) < count:
        if len(tokens) > N_CTX:
            out = (N_CTX - keep) // 2
            del tokens[keep : keep + out]
            left_out += out
            computed = computed - out if moves else 0
            if moves:
                runner.library.llama_memory_seq_rm(memory, 0, keep, keep + out)
                runner.library.llama_memory_seq_add(memory, 0, keep + out, -1, -out)
            else:
                runner.remove(0, 0)
        assert runner.decode([Job(0, computed, tokens[computed:], 1)]) == 0
        computed = len(tokens)
        said.append(int(runner.logits(0).argmax()))
        tokens.append(said[-1])
    runner.remove(0, 0)
    return b"".join(map(runner.piece, said)).decode(), left_out


@pytest.fixture(autouse=True)
def always_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether restoring pays depends on the machine's mood; here it always does."""
    monkeypatch.setattr(Costs, "worth_restoring", lambda self, tokens, size: True)


def test_half_of_what_may_go_goes_if_that_is_worth_it() -> None:
    assert leaves_out(256, 56) == 100
    assert leaves_out(256, 256 - 32) == 16
    assert leaves_out(256, 256 - 31) == 0


async def test_an_answer_goes_on_and_says_what_was_left_out(start: StartEngine, runner: Runner) -> None:
    engine = await start(n_ctx=N_CTX, on_full="shift", draft="off")
    answer = await answer_to(engine, chat())
    text, left_out = twin(runner, chat(), 500, moves=True)
    assert answer.text == text != twin(runner, chat(), 500, moves=False)[0]
    assert (answer.done.total_tokens, answer.done.finish_reason) == (500, "length")
    assert answer.done.detail == f"the {left_out} oldest tokens were left out: the context holds 256"
    told = [status.detail for status in answer.statuses("generating") if status.detail]
    assert len(told) > 1
    assert told[-1] == answer.done.detail
    assert len(set(told)) == len(told)


async def test_the_default_limit_is_not_cut_to_the_context(start: StartEngine) -> None:
    engine = await start(n_ctx=N_CTX, on_full="shift")
    answer = await answer_to(engine, chat(max_tokens=None))
    assert answer.done.total_tokens == chat(max_tokens=None).token_limit
    assert (await answer_to(engine, chat(max_tokens=8))).done.detail == ""


async def test_a_prompt_that_does_not_fit_is_refused_and_never_cut(start: StartEngine) -> None:
    engine = await start(n_ctx=N_CTX, on_full="shift")
    assert (await ask(engine, "refund " * 260)).error.code == "CONTEXT_FULL"


async def test_where_all_is_to_be_kept_the_answer_ends(start: StartEngine) -> None:
    engine = await start(n_ctx=N_CTX, on_full="shift", keep=N_CTX - 20)
    answer = await ask(engine, "refund " * 220, 400)
    assert answer.done.finish_reason == "length"
    assert answer.done.total_tokens == N_CTX + 1 - (answer.metas[0].prompt_tokens or 0)
    assert "the context of 256 tokens is full" in answer.done.detail


@pytest.mark.parametrize("residency", ["host", "device"])
async def test_only_what_is_kept_serves_others_afterwards(start: StartEngine, residency: str) -> None:
    """The next turn would begin like the tokens that were there before and like those that were left: neither is used,
    but for the system message."""
    engine = await start(n_ctx=N_CTX, on_full="shift", kv_residency=residency)
    plain = await start(kv_residency="none")
    first = await answer_to(engine, chat(max_tokens=300))
    for request in (chat(max_tokens=20), chat("pause", 20), chat(first.text[-150:], 20)):
        again = await answer_to(engine, request)
        assert again.text == (await answer_to(plain, request)).text
        assert 64 <= (again.metas[0].cached_tokens or 0) < (again.metas[0].prompt_tokens or 0) - 4


async def test_turns_of_a_conversation_that_is_kept_in_the_cache(start: StartEngine, runner: Runner) -> None:
    """The second turn holds cells of the kept first one, which leaves the cache before they are moved."""
    engine = await start(n_ctx=N_CTX, on_full="shift", kv_residency="device", draft="off")
    first = await answer_to(engine, chat(max_tokens=40))
    turns = (*chat().messages, Message("assistant", first.text), Message("user", "pause"))
    request = ChatRequest(turns, max_tokens=300, sampling=GREEDY)
    second = await answer_to(engine, request)
    assert (second.metas[0].cached_tokens or 0) > (first.metas[0].prompt_tokens or 0)
    assert second.text == twin(runner, request, 300, moves=True)[0]
    assert (await answer_to(engine, chat(max_tokens=40))).text == first.text


async def test_cells_that_others_hold_stay_where_they_are(start: StartEngine, runner: Runner) -> None:
    """Two answers to one prompt share its cells: the one that is full first computes anew what is left of it, and then
    the other one's are its own."""
    engine = await start(n_ctx=N_CTX, on_full="shift", draft="off")
    computed, left_out = twin(runner, chat(), 220, moves=False)
    moved, _ = twin(runner, chat(), 220, moves=True)
    async with aclosing(cast("Any", engine.stream(chat(max_tokens=220)))) as stream:
        events = [await anext(stream)]
        while not isinstance(events[-1], Token):
            events.append(await anext(stream))
        other = asyncio.create_task(answer_to(engine, chat(max_tokens=220)))
        events += [event async for event in stream]
    first, second = Answer(events), await other
    detail = f"the {left_out} oldest tokens were left out: the context holds 256"
    assert (first.done.detail, second.done.detail) == (detail, detail)
    assert (first.text, second.text) == (computed, moved)
    assert computed != moved


async def test_without_cells_to_compute_it_anew_an_answer_ends(start: StartEngine) -> None:
    """Four hold a long prompt once, and there are not so many cells that one of them could have it for itself."""
    engine = await start(n_ctx=N_CTX, on_full="shift", draft="off", kv_cells=2 * N_CTX)
    request = chat("refund the invoice and the plan " * 12, 300)
    answers = await asyncio.gather(*(answer_to(engine, request) for _ in range(4)))
    full = ["is full" in answer.done.detail for answer in answers]
    assert any(full)
    assert not all(full)
    for answer, is_full in zip(answers, full, strict=True):
        assert (answer.done.finish_reason, answer.done.total_tokens < 300) == ("length", is_full)
    assert (await answer_to(engine, request)).done.total_tokens == 300


@pytest.mark.usefixtures("drafting")
@pytest.mark.parametrize("draft", ["good", "ngram"])
async def test_drafts_change_nothing(start: StartEngine, pair: Drafts, draft: str) -> None:  # noqa: F811
    plain = await start(model=str(pair.target), n_ctx=N_CTX, on_full="shift", draft="off")
    options: dict[str, Any] = {"draft": "ngram"} if draft == "ngram" else {"draft_model": str(pair.drafts[draft])}
    engine = await start(model=str(pair.target), n_ctx=N_CTX, on_full="shift", **options)
    requests = [chat(), chat("invoice " * 20), chat("pause", 350)]
    expected = [await answer_to(plain, request) for request in requests]
    answers = await asyncio.gather(*(answer_to(engine, request) for request in requests))
    assert [answer.metas[-1].accepted_tokens is not None for answer in answers] == [True] * 3
    assert [answer.done.detail for answer in answers] == [answer.done.detail for answer in expected]
    assert [answer.text for answer in answers] == [answer.text for answer in expected]


async def test_models_whose_memory_cannot_be_moved_compute_again(start: StartEngine, tmp_path: Path) -> None:
    path = write_recurrent_model(tmp_path / "hybrid.gguf", hybrid=True)
    engine = await start(model=str(path), n_ctx=N_CTX, on_full="shift")
    answer = await answer_to(engine, chat(max_tokens=300))
    by_hand = Runner(engine.options, lambda part: True)
    try:
        assert answer.text == twin(by_hand, chat(), 300, moves=False)[0]
    finally:
        by_hand.close()
    assert "oldest tokens were left out" in answer.done.detail


async def test_a_cancel_does_not_abort_the_step_that_moves_cells(
    start: StartEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An aborted move would be carried out twice; no other step is spared."""
    engine = await start(n_ctx=N_CTX, on_full="shift", draft="off", prefill_chunk=8)
    assert engine._steps is not None
    assert engine._runner is not None
    inbox, mover = engine._steps._inbox, engine._runner
    begin, seen = inbox.begin_step, set[tuple[bool, bool]]()

    def watched(interruptible: frozenset[int], hint: Sequence | None) -> bool:
        seen.add((mover.is_moving, bool(interruptible)))
        return begin(interruptible, hint)

    monkeypatch.setattr(inbox, "begin_step", watched)
    answering = asyncio.create_task(answer_to(engine, chat()))
    for _ in range(6):
        await ask(engine, "invoice " * 120, 1)
    await answering
    assert {(True, False), (False, True)} <= seen
    assert (True, True) not in seen
