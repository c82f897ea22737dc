"""The engine as a Backend, on the real llama.cpp: what a stream says, and that company does not change it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from backends.backend import ChatRequest, Message, Sampling
from backends.engine import Engine, EngineOptions
from backends.engine.options import QueueTimeout
from backends.engine.step import Stepper
from backends.events import Error, Meta, Status, Token
from tests.engine.answers import GREEDY, Answer, ask, read, request
from tests.engine.conftest import EXACT, StartEngine
from tests.fakes.gguf_model import write_model

LONG = "the annual plan and the invoice " * 40


async def test_a_stream_says_what_happens_in_order(start: StartEngine) -> None:
    engine = await start(prefill_chunk=32)
    answer = await ask(engine, "pause the plan " * 10, max_tokens=20)
    prompt = answer.metas[0].prompt_tokens
    assert prompt is not None
    steps = [(status.done, status.total, status.cached) for status in answer.statuses("prefilling")]
    assert steps == [(done, prompt, 0) for done in (*range(0, prompt, 32), prompt)]
    assert len(answer.statuses("generating")) == 1
    assert (answer.done.finish_reason, answer.done.total_tokens, answer.tokens) == ("length", 20, 20)


async def test_the_first_meta_comes_right_before_the_first_token(start: StartEngine) -> None:
    engine = await start()
    answer = await ask(engine)
    first, last = answer.metas
    at = answer.events.index(first)
    assert isinstance(answer.events[at + 1], Token)
    assert [span.stage for span in first.spans] == ["provider_queue", "prefill", "decode_first_token"]
    assert first.latency is not None
    assert first.spans[0].offset == 0
    for before, after in zip(first.spans, first.spans[1:], strict=False):
        assert after.offset == pytest.approx(before.end)
    assert first.spans[-1].end == pytest.approx(first.latency)
    assert (first.model, first.cached_tokens, first.kv_cells) == ("tiny-random", 0, 2048)
    assert first.kv_used == first.prompt_tokens
    assert first.kv_bytes_per_token == 2 * 3 * 2 * 16 * 4
    (generation,) = last.spans
    assert (generation.stage, generation.offset) == ("total_generation", first.latency)
    assert last.completion_tokens == 24
    assert last.kv_used == first.prompt_tokens + 23, "the last token is never computed"
    assert last.latency == answer.done.latency == pytest.approx(generation.end)


async def test_four_at_once_say_what_each_says_alone(start: StartEngine) -> None:
    engine = await start(prefill_chunk=24, n_batch=64)
    contents = ["pause", "the annual plan " * 12, "refund " * 30, "invoice"]
    alone = [(await ask(engine, content, 60)).text for content in contents]
    together = await asyncio.gather(*(ask(engine, content, 60) for content in contents))
    assert [answer.text for answer in together] == alone
    assert len(set(alone)) == 4


async def test_chunking_does_not_change_the_answer(start: StartEngine) -> None:
    texts = set()
    for chunk in (7, 64, 512):
        engine = await start(prefill_chunk=chunk, n_ubatch=64)
        texts.add((await ask(engine, LONG[:400], 40)).text)
    assert len(texts) == 1


async def test_the_same_seed_draws_the_same_answer(start: StartEngine) -> None:
    engine = await start()

    async def draw(seed: int | None) -> str:
        return (await ask(engine, max_tokens=30, sampling=Sampling(temperature=1.5, top_k=0, top_p=1, seed=seed))).text

    seven, _, again, eight = await asyncio.gather(draw(7), draw(None), draw(7), draw(8))
    assert seven == again == await draw(7)
    assert seven != eight
    assert seven != (await ask(engine, max_tokens=30)).text


async def test_temperature_zero_and_top_k_one_agree(start: StartEngine) -> None:
    engine = await start()
    sampled = await ask(engine, sampling=Sampling(temperature=1, top_k=1))
    assert sampled.text == (await ask(engine)).text


async def test_a_stop_string_ends_the_answer_across_token_borders(start: StartEngine) -> None:
    engine = await start()
    whole = (await ask(engine, max_tokens=60)).text
    for length in (1, 3, 9):
        stop = whole[20 : 20 + length]
        answer = await ask(engine, max_tokens=60, sampling=Sampling(temperature=0, stop=(stop, "never said")))
        assert answer.text == whole[: whole.index(stop)]
        assert answer.done.finish_reason == "stop"
        assert answer.done.total_tokens < 60


async def test_the_models_own_end_of_turn_is_not_text(start: StartEngine, tmp_path: Path) -> None:
    engine = await start(model=str(write_model(tmp_path / "ends.gguf", end_gain=3.0)))
    answer = await ask(engine, max_tokens=400)
    assert answer.done.finish_reason == "stop"
    assert "<|im_end|>" not in answer.text
    assert answer.done.total_tokens == answer.tokens < 400


async def test_continuing_a_cut_answer_gives_the_rest_of_it(start: StartEngine) -> None:
    engine = await start()
    whole = (await ask(engine, "pause", 60)).text
    cut = await ask(engine, "pause", 30)
    assert cut.done.finish_reason == "length"
    messages = (Message("user", "pause"),)
    rest = await read(
        engine.stream(ChatRequest(messages, max_tokens=30, sampling=GREEDY, continue_from=cut.text + "<|im_end|>"))
    )
    assert rest.metas[0].prompt_tokens is not None
    assert cut.metas[0].prompt_tokens is not None
    more = rest.metas[0].prompt_tokens - cut.metas[0].prompt_tokens
    assert more == engine.count_tokens(cut.text + "<|im_end|>") > engine.count_tokens(cut.text) + 3
    assert whole.startswith(cut.text)


async def test_while_loading_a_stream_tells_how_far_it_is(tiny: Path) -> None:
    engine = Engine(EngineOptions(model=str(tiny), **EXACT))
    try:
        assert engine.state == "idle"
        first, second = await asyncio.gather(ask(engine), ask(engine))
        assert engine.state == "ready"
    finally:
        await engine.aclose()
    for answer in (first, second):
        loading = answer.statuses("loading")
        assert [status.done for status in loading] == sorted({status.done for status in loading})
        assert {status.total for status in loading} == {1000}
        assert answer.metas[0].spans[0].stage == "model_load"
        assert answer.done.finish_reason == "length"
    assert first.text == second.text


async def test_a_reader_who_dawdles_while_the_model_loads_is_not_forgotten(tiny: Path) -> None:
    engine = Engine(EngineOptions(model=str(tiny), **EXACT))
    try:
        stream = engine.stream(request())
        assert isinstance(await anext(stream), Status)
        await engine.ready()
        assert (await read(stream)).done.finish_reason == "length"
    finally:
        await engine.aclose()


async def test_info_and_token_counts(start: StartEngine, tiny: Path) -> None:
    engine = await start(max_streams=2)
    info = await engine.ready()
    assert engine.info == info
    assert (info.name, info.path, info.n_ctx, info.n_ctx_train, info.kv_cells) == (
        "tiny-random",
        str(tiny),
        512,
        512,
        1024,
    )
    assert info.n_params > 100_000
    assert engine.count_tokens("") == 0
    assert engine.count_tokens("12") == 2
    assert engine.count_tokens("<|im_end|>") > 1


async def test_more_requests_than_streams_wait_and_are_told_their_place(start: StartEngine) -> None:
    engine = await start(max_streams=2)
    answers = await asyncio.gather(*(ask(engine, f"plan {number}", 40) for number in range(5)))
    places = sorted([status.position for status in answer.statuses("queued")] for answer in answers)
    assert places[:2] == [[], []]
    assert [place[0] for place in places[2:]] == [1, 2, 3]
    assert all(place == sorted(set(place), reverse=True) for place in places)
    for number, answer in enumerate(answers):
        assert answer.text == (await ask(engine, f"plan {number}", 40)).text


async def test_memory_that_is_promised_is_waited_for(start: StartEngine) -> None:
    """Two requests that need 300 of 512 cells each: the second runs after the first, though slots are free."""
    engine = await start(kv_cells=512)
    first, second = await asyncio.gather(ask(engine, "pause", 280), ask(engine, "pause", 280))
    waited = [answer.statuses("queued") for answer in sorted((first, second), key=lambda answer: answer.done.latency)]
    assert [[status.position for status in statuses] for statuses in waited] == [[], [1]]
    assert first.text == second.text


async def test_a_full_queue_refuses_and_says_when_to_come_back(start: StartEngine) -> None:
    engine = await start(max_streams=1, max_queue=1)
    answers = await asyncio.gather(*(ask(engine, max_tokens=100) for _ in range(4)))
    errors = [answer.end for answer in answers if isinstance(answer.end, Error)]
    assert len(errors) == 2
    assert {(error.code, error.retryable) for error in errors} == {("OVERLOADED", True)}
    assert all(error.retry_after and error.retry_after > 0 for error in errors)


async def test_waiting_has_a_deadline(start: StartEngine) -> None:
    engine = await start(max_streams=1, queue_timeout=QueueTimeout(chat=1e-6))
    answers = await asyncio.gather(ask(engine, max_tokens=100), ask(engine, max_tokens=100))
    (late,) = [answer.end for answer in answers if isinstance(answer.end, Error)]
    assert late.code == "OVERLOADED"
    assert "no place within" in late.message


async def test_what_cannot_fit_is_refused_with_the_numbers(start: StartEngine) -> None:
    engine = await start()
    too_long = await ask(engine, "refund " * 600, None)
    assert too_long.error.code == "CONTEXT_FULL"
    assert "512" in too_long.error.message
    too_much = await ask(engine, "pause", 510)
    assert too_much.error.code == "CONTEXT_FULL"
    assert "max_tokens 510" in too_much.error.message


async def test_a_default_limit_is_cut_to_what_is_left(start: StartEngine) -> None:
    engine = await start()
    answer = await ask(engine, LONG[:200], None)
    assert answer.done.finish_reason == "length"
    assert answer.metas[0].prompt_tokens is not None
    assert answer.done.total_tokens == 512 - answer.metas[0].prompt_tokens
    assert "the context of 512 tokens is full" in answer.done.detail
    assert (await ask(engine, "pause", 8)).done.detail == ""


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"sampling": Sampling(top_p=2.0)}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
    ],
)
async def test_a_bad_request_fails_alone(start: StartEngine, fields: dict[str, Any], word: str) -> None:
    engine = await start()
    bad, good = await asyncio.gather(ask(engine, **fields), ask(engine))
    assert bad.error.code == "BAD_REQUEST"
    assert word in bad.error.message
    assert good.done.finish_reason == "length"


async def test_the_loop_wakes_its_reader_less_often_than_it_steps(
    start: StartEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model of thousands of tokens a second must not wake the reader for every one of them."""
    monkeypatch.setattr("backends.engine.outbox.PUBLISH_INTERVAL", 3600.0)
    engine = await start()
    answer = await ask(engine, max_tokens=50)
    counts = [event.count for event in answer.events if isinstance(event, Token)]
    assert sum(counts) == 50
    assert len(counts) <= 2


async def test_kv_numbers_count_everybody(start: StartEngine) -> None:
    engine = await start()
    assert engine.info is not None
    together = await asyncio.gather(*(ask(engine, max_tokens=50) for _ in range(3)))
    used = max(meta.kv_used or 0 for answer in together for meta in answer.metas)
    alone = max(meta.kv_used or 0 for meta in (await ask(engine, max_tokens=50)).metas)
    assert alone < used <= engine.info.kv_cells


async def test_warm_loads_the_model(tiny: Path) -> None:
    engine = Engine(EngineOptions(model=str(tiny)))
    try:
        await engine.warm(request())
        await engine.ready()
        assert engine.state == "ready"
    finally:
        await engine.aclose()


def test_the_contract_check_of_these_tests_can_fail() -> None:
    with pytest.raises(AssertionError):
        Answer([Meta()])
    with pytest.raises(AssertionError):
        Answer([])


async def test_the_account_is_checked_in_these_tests(start: StartEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cell that llama.cpp does not hold is noticed, ends the loop, and everyone hears of it."""
    engine = await start()

    def miscount(stepper: Stepper, *arguments: Any) -> None:
        original(stepper, *arguments)
        for sequence in stepper._running:
            stepper._running._memory.cells.fill(sequence.slot, sequence.computed - 1)

    original = Stepper._advance
    monkeypatch.setattr(Stepper, "_advance", miscount)
    answers = await asyncio.gather(ask(engine), ask(engine))
    assert {answer.error.code for answer in answers} == {"INTERNAL"}
