"""What `llmchat bench engine` does around the measuring: whose turn it is, what is kept, what the table says."""

from __future__ import annotations

import itertools
from pathlib import Path

import msgspec
import pytest

from backends.backend import Backend
from backends.bench.cells import Scale, Values, prompts_beside_answers
from backends.bench.engine import Bench, Measuring, Subject
from backends.bench.in_process import engine_here
from backends.bench.models import Shape, make
from backends.bench.record import Record, open_record
from backends.bench.report import markdown
from backends.bench.servers import rival_flags
from backends.bench.step_costs import ROWS, cost_of, row_name, step_costs, token_name
from backends.bench.suite import (
    INSIDE,
    OURS,
    PREDICTED,
    TRADE_OFF,
    Comparison,
    Contender,
    Entry,
    Setup,
    setups,
    speculation_setups,
)
from backends.bench.wire import Chunk, Timings, completion_events
from backends.engine import EngineOptions
from backends.errors import BackendError
from backends.events import Done, Meta, Token
from tests.bench.gpu import suite as gpu

TINY = Shape("tiny", 64, 2, 4, 2, 96, 1_200, context=512)
SIDES = (Contender("one", "inside"), Contender("two", "inside"))


async def numbered(backend: Backend, scale: Scale, seed: int) -> Values:
    asked.append((id(backend), seed))
    return {"tok/s": float(len(asked))}


asked: list[tuple[int, int]] = []


def setup(*entries: Entry) -> Setup:
    return Setup("here", {"max_streams": 1, "n_ctx": 256}, SIDES, entries)


def entry(name: str, repeats: int) -> Entry:
    return Entry(name, numbered, ("one", "two"), (Comparison(name, "tok/s", "one", "two", 1.0),), repeats)


async def measure(folder: Path, record: Record, wanted: Setup, seconds: float | None = None) -> int:
    """How often the record was saved."""
    saved = []
    bench = Bench(folder, seconds=seconds, threads=1, on_sample=lambda line: None)
    measuring = Measuring(bench, record, lambda: saved.append(1))
    await measuring.measure(Subject("tiny", make(TINY, folder), Scale()), [wanted])
    return len(saved)


async def test_both_sides_get_the_same_in_turn_and_what_is_there_is_not_measured_again(tmp_path: Path) -> None:
    asked.clear()
    record = Record({})
    assert await measure(tmp_path, record, setup(entry("a", 2))) == 2
    (first, seed), (second, same), (third, other), (fourth, same_other) = asked
    assert seed == same != other == same_other
    assert (first, second) == (fourth, third)  # the second time the other one begins
    assert await measure(tmp_path, record, setup(entry("a", 3))) == 1
    assert await measure(tmp_path, record, setup(entry("a", 3))) == 0
    assert len(record.of("tiny", "a", "one")) == len(record.of("tiny", "a", "two")) == 3


async def test_without_time_left_nothing_begins(tmp_path: Path) -> None:
    record = Record({})
    assert await measure(tmp_path, record, setup(entry("a", 2)), seconds=0) == 0


def test_a_record_survives_being_saved_and_nothing_else_is_taken_for_one(tmp_path: Path) -> None:
    record = open_record(tmp_path / "record.json")
    record.of("T", "decode", OURS).append({"tok/s": 10.0})
    record.save(tmp_path / "record.json")
    assert open_record(tmp_path / "record.json") == record
    (tmp_path / "other.json").write_text("[1]")
    with pytest.raises(BackendError, match=r"other\.json"):
        open_record(tmp_path / "other.json")


def test_the_table_tells_what_was_reached_and_what_was_missed() -> None:
    record = Record({})
    for name, ours, theirs in (("fast", 120.0, 100.0), ("slow", 80.0, 100.0)):
        for _ in range(4):
            record.of("T", name, "one").append({"tok/s": ours})
            record.of("T", name, "two").append({"tok/s": theirs})
    text = markdown(record, [("T", [setup(entry("fast", 4), entry("slow", 4), entry("never", 4))])])
    fast, slow = text.splitlines()[-2:]
    assert "| 120 | 100 | 1.20 [1.20, 1.20] | ≥ 1 | reached |" in fast
    assert "**missed**" in slow
    assert "never" not in text


def test_a_quotient_of_two_contenders_is_taken_sample_by_sample() -> None:
    record = Record({})
    for value in (1.0, 2.0):
        record.of("T", "draft", "with").append({"tok/s": 3 * value})
        record.of("T", "draft", "without").append({"tok/s": value})
    assert record.values("T", "draft", "with / without", "tok/s") == [3.0, 3.0]
    assert record.values("T", "draft", "with / nobody", "tok/s") == []


def test_every_comparison_is_between_those_who_take_part_with_options_that_exist() -> None:
    for wanted in (*setups(), *speculation_setups(), *gpu.setups(gpu.LARGE), *gpu.speculation(gpu.TINY)):
        names = {it.name for it in wanted.contenders}
        for each in wanted.entries:
            assert set(each.contenders) <= names
            for comparison in each.comparisons:
                operands = f"{comparison.ours} / {comparison.other}".removesuffix(" / ").split(" / ")
                reckoned = {PREDICTED} if each.predict else set()
                assert set(operands) <= {*each.contenders, *reckoned}, each.name
            for it in wanted.contenders:
                msgspec.convert({"model": "m.gguf"} | wanted.options | it.options, EngineOptions)


def test_the_rival_gets_the_same_threads_batches_and_cells() -> None:
    options = EngineOptions(model="m.gguf", kv_cells=4096, max_streams=3, n_batch=512, n_ubatch=128, kv_type="q8_0")
    flags = rival_flags(options, 2, repack=False, on_gpu=False)
    said = dict(itertools.pairwise(flags))
    assert said | {"-m": "m.gguf", "-c": "4096", "-np": "3", "-b": "512", "-ub": "128", "-t": "2", "-tb": "2"} == said
    assert said | {"-fa": "off", "-ctk": "q8_0", "-ctv": "q8_0", "-ngl": "0"} == said
    assert {"--no-repack", "-kvu"} <= set(flags)
    assert "--no-repack" not in rival_flags(options, 2, repack=True, on_gpu=True)


def test_llama_servers_frames_become_our_events() -> None:
    assert completion_events(Chunk(" ab")) == [Token(" ab")]
    last = Chunk("", True, "limit", 12, Timings(cache_n=30, prompt_n=5, draft_n=20, draft_n_accepted=9))
    meta, done = completion_events(last)
    assert isinstance(meta, Meta)
    assert (meta.prompt_tokens, meta.cached_tokens, meta.draft_tokens, meta.accepted_tokens) == (35, 30, 20, 9)
    assert msgspec.structs.replace(done, latency=0.0) == Done(12, 0.0, "length")


def test_what_objectives_trade_is_drawn() -> None:
    record = Record({})
    for name, gap, ttft in (("ttft, 100 ms", 20.0, 4000.0), ("throughput", 200.0, 1000.0)):
        record.of("T", TRADE_OFF, name).append({"gap ms": gap, "ttft ms": ttft})
    drawing = markdown(record, [("T", setups())]).splitlines()
    smooth, quick = [line for line in drawing if line.startswith("    ")]
    assert smooth.split("gap")[0].strip() == "ttft, 100 ms"
    assert smooth.count("#") == 2 + 20
    assert quick.count("#") == 20 + 5
    assert {"20", "4,000"} < set(smooth.split())


async def test_prompts_beside_answers_are_measured(tmp_path: Path) -> None:
    options = EngineOptions(model=str(make(TINY, tmp_path)), n_ctx=512, kv_cells=4096, max_streams=10, n_threads=1)
    async with engine_here(options) as engine:
        values = await prompts_beside_answers(engine, Scale(decode=16, prompt=64), 1)
    assert values["gap ms"] > 0
    assert values["ttft ms"] > 0


async def test_what_steps_cost_is_measured(tmp_path: Path) -> None:
    options = EngineOptions(model=str(make(TINY, tmp_path)), n_ctx=512, kv_cells=2048, max_streams=8, n_threads=1)
    async with engine_here(options) as engine:
        values = await step_costs(engine, Scale(), 1)
    assert all(values[row_name(rows, cells)] > 0 for rows in ROWS for cells in (256, 1024))
    step = cost_of([values])
    assert step is not None
    assert step(2, 0, 256) == pytest.approx(values[row_name(2)] / 1000)


def test_the_gain_of_batching_stands_beside_what_the_cost_of_steps_predicts() -> None:
    """A machine whose steps cost as much as they hold: there is nothing to gain, and nothing was gained."""
    record = Record({})
    for mode in ("continuous", "dynamic", "static"):
        record.of("T", "batching", mode).append({"tok/s": 100.0})
    by_cells = {row_name(rows, cells): float(rows) for rows in ROWS for cells in (256, 1024)}
    record.of("T", "steps", INSIDE).append(by_cells | {token_name(cells): 1.0 for cells in (256, 1024)})
    row = next(line for line in markdown(record, [("T", setups())]).splitlines() if "predicts" in line)
    assert row.endswith("| 1 | 1 | 1.00 [1.00, 1.00] | ≥ 0.9 | reached |")
