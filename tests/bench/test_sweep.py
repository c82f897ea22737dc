"""Several loads one after the other, what is printed and kept of them, and two results beside each other."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from backends.bench.comparison import compare, differences, table
from backends.bench.load import Load, Result, Run
from backends.bench.load_record import LoadRecord, read_record
from backends.bench.load_report import as_csv, report
from backends.bench.statistics import percentile_ratios
from backends.bench.summary import summarize
from backends.bench.sweep import OPEN_SECONDS, Extent, Level, Measured, levels, sweep
from backends.bench.workload import Workload
from backends.config import Budget
from backends.errors import BackendError
from tests.fakes.scripted import Scripted, answer

BUDGET = Budget(500, 5000)


def result(ttft: float, total: float, gaps: tuple[float, ...] = (1.5, 2.5)) -> Result:
    return Result(0.0, 0.0, "complete", ttft, (total - ttft) / 9, total, 10, 20, 5, None, None, gaps)


def measured(level: Level, slow: float = 1.0, count: int = 200, seed: int = 1) -> Measured:
    rng = random.Random(seed)
    ttfts = [rng.uniform(100, 200) * slow for _ in range(count)]
    done = Run(tuple(result(ttft, ttft + 900) for ttft in ttfts), 10.0)
    return Measured(level, summarize(done, BUDGET), done)


def test_levels_are_clients_or_rates_one_after_the_other() -> None:
    assert levels("1,4", "") == (Level("clients", 1), Level("clients", 4))
    assert levels("1", "0.5,2") == (Level("second", 0.5), Level("second", 2))
    for concurrency, rate in (("many", ""), ("0", ""), ("1.5", ""), ("", ""), ("1", "0"), ("1", "nan"), ("1", "fast")):
        with pytest.raises(BackendError, match="one after the other"):
            levels(concurrency, rate)


def test_without_an_extent_it_is_one_that_makes_sense() -> None:
    assert Extent().load(Level("clients", 4)) == Load(4, 32, None)
    assert Extent().load(Level("second", 0.5)) == Load(1, None, OPEN_SECONDS)
    assert Extent(count=5, duration=9.0, warm_up=2).load(Level("second", 3)) == Load(1, 5, 9.0, 2)


async def test_every_level_is_asked_and_no_prompt_twice() -> None:
    backend = Scripted(*answer("a", "b"))
    begun: list[tuple[Level, Load]] = []
    found = await sweep(
        backend,
        Workload(),
        (Level("clients", 1), Level("clients", 3)),
        Extent(count=4, warm_up=2),
        BUDGET,
        lambda level, load: begun.append((level, load)),
    )
    assert [one.summary.answered for one in found] == [4, 4]
    assert [level.value for level, _ in begun] == [1, 3]
    assert len({request.messages for request in backend.requests}) == 12


async def test_an_open_loop_ends_with_its_count() -> None:
    backend = Scripted(*answer("a"))
    (found,) = await sweep(backend, Workload(), (Level("second", 500),), Extent(count=6), BUDGET)
    assert found.summary.answered == 6
    assert [one.due for one in found.run.results] == sorted(one.due for one in found.run.results)


def test_one_load_is_told_at_length_and_several_over_the_load() -> None:
    assert "200 of 200 requests answered" in report([measured(Level("clients", 1))])
    assert "only --rate shows" in report([measured(Level("clients", 1))])
    over = report([measured(Level("second", 1)), measured(Level("second", 2), slow=3.0)])
    assert "when a request was due" in over
    assert max(map(len, over.splitlines())) <= 90
    assert [line.split()[0] for line in over.splitlines() if line[:1].isdigit()] == ["1", "2"] * 5


def test_csv_has_a_line_for_each_load() -> None:
    head, *lines = as_csv([measured(Level("clients", 1)), measured(Level("clients", 8))]).splitlines()
    columns = head.split(",")
    assert [line.split(",")[columns.index("load")] for line in lines] == ["1", "8"]
    assert all(len(line.split(",")) == len(columns) for line in lines)
    assert float(lines[0].split(",")[columns.index("itl_p50_ms")]) == 2.0


def test_a_record_is_read_back_as_it_was(tmp_path: Path) -> None:
    record = LoadRecord("box", {"prompt": "128"}, (measured(Level("clients", 2)),))
    record.save(tmp_path / "a.json")
    assert read_record(tmp_path / "a.json") == record
    (tmp_path / "b.json").write_text("{}")
    with pytest.raises(BackendError, match="not what llmchat bench"):
        read_record(tmp_path / "b.json")


def test_a_difference_is_told_from_chance() -> None:
    level = Level("clients", 2)
    one, same, slower = (
        LoadRecord("box", {"prompt": "128"}, (found, measured(Level("clients", 9))))
        for found in (measured(level), measured(level, seed=2), measured(level, slow=1.3, seed=3))
    )
    (alike, _), (changed, _) = compare(one, same), compare(one, slower)
    assert {it.verdict for it in alike.ratios if it.metric == "TTFT"} == {""}
    ttft = next(it for it in changed.ratios if it.metric == "TTFT" and it.percent == 50)
    assert ttft.ratio.low < 1.3 < ttft.ratio.high
    assert ttft.verdict == "slower"
    assert {it.percent for it in changed.ratios} == {50, 90, 95}  # 200 answers say nothing of P99
    assert "slower" in table([changed])


def test_gaps_are_drawn_with_the_answer_they_belong_to() -> None:
    def records(gaps: list[tuple[float, ...]]) -> LoadRecord:
        done = Run(tuple(result(100, 200, own) for own in gaps), 10.0)
        return LoadRecord("box", {}, (Measured(Level("clients", 1), summarize(done, BUDGET), done),))

    rng = random.Random(4)
    alike = [(float(ms),) * 40 for ms in (rng.uniform(10, 30) for _ in range(30))]
    mixed = [tuple(rng.uniform(10, 30) for _ in range(40)) for _ in range(30)]
    intervals = {}
    for name, gaps in (("alike", alike), ("mixed", mixed)):
        (found,) = compare(records(gaps), records(gaps))
        assert {it.percent for it in found.ratios if it.metric == "ITL"} == {50, 90, 95, 99}
        assert "ITL P99, ms" in table([found])
        intervals[name] = next(it.ratio for it in found.ratios if (it.metric, it.percent) == ("ITL", 50))
    width = {name: found.high - found.low for name, found in intervals.items()}
    assert width["alike"] > 3 * width["mixed"]  # 30 values that each count 40 times are no 1,200
    (few,) = compare(records(alike[:9]), records(alike[:9]))
    assert few.ratios == ()


def test_only_what_both_have_is_compared_and_other_options_are_named() -> None:
    one = LoadRecord("box", {"prompt": "128", "seed": 0}, (measured(Level("clients", 1)),))
    other = LoadRecord("box", {"prompt": "256", "seed": 0}, (measured(Level("second", 1)),))
    assert compare(one, other) == []
    assert differences(one, other) == ["prompt 128 against 256"]


def test_the_interval_of_a_percentile_holds_the_true_ratio_as_often_as_it_says() -> None:
    rng = random.Random(5)
    held = 0
    for number in range(40):
        theirs = [rng.expovariate(1.0) for _ in range(150)]
        ours = [2 * rng.expovariate(1.0) for _ in range(150)]
        (found,) = percentile_ratios([[one] for one in ours], [[one] for one in theirs], (90,), seed=number)
        held += found.low < 2 < found.high
    assert held >= 34  # of 38 expected; fewer than 34 comes once in a hundred times
