"""Many turns in numbers, and the thresholds they are held against."""

from __future__ import annotations

from typing import Any

import pytest

from backends.telemetry.alerts import ENOUGH_TURNS, THRESHOLDS, alerts
from backends.telemetry.spread import spread
from backends.telemetry.statistics import Cell, Metric, statistics, summed


def cell(day: str = "2026-11-22", turns: int = 10, backend: str = "box", **more: Any) -> Cell:
    values: dict[Metric, list[float]] = {"ttft": [100.0] * turns, "tpot": [20.0] * turns, "total": [900.0] * turns}
    fields: dict[str, Any] = {"model": "m", "feature": "chat", "good": turns, "values": values, **more}
    return Cell(backend=backend, day=day, turns=turns, **fields)


def test_percentiles_are_over_all_turns_of_a_group_and_not_means_of_means() -> None:
    few = cell(turns=2, values={"ttft": [500.0, 700.0]})
    many = cell(day="2026-11-21", turns=4, values={"ttft": [1.0, 2.0, 3.0, 4.0]})
    found = statistics([few, many])
    assert found.overall.ttft == spread([500.0, 700.0, 1.0, 2.0, 3.0, 4.0])
    assert [group.name for group in found.by["day"]] == ["2026-11-21", "2026-11-22"]
    assert found.by["day"][1].ttft == spread([500.0, 700.0])
    assert found.by["backend"][0].turns == 6


def test_rates_and_shares() -> None:
    some = cell(turns=10, failed=1, cancelled=2, good=4, prompt_tokens=1_000, cached_tokens=250, cost=0.5)
    more = cell(turns=10, good=10, draft_tokens=40, accepted_tokens=10)
    group = summed("all", [some, more])
    assert (group.error_rate, group.cancel_rate) == (0.05, 0.1)
    assert group.goodput == 14 / 18  # who cancelled is not judged
    assert (group.cached_share, group.accepted_share, group.cost) == (0.25, 0.25, 0.5)


def test_nothing_is_known_of_nothing() -> None:
    group = summed("all", [])
    assert (group.turns, group.ttft, group.goodput, group.cached_share, group.cost) == (0, None, None, None, None)
    assert alerts(group) == ()


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ({"values": {"ttft": [2_100.0] * 40}}, ["P50 TTFT 2.1 s, above 2 s"]),
        ({"values": {"ttft": [100.0] * 35 + [6_000.0] * 5}}, ["P95 TTFT 6 s, above 5 s"]),
        ({"values": {"tpot": [55.0] * 40}}, ["median speed 18.2 tok/s, below 20 tok/s"]),
        ({"values": {"tpot": [20.0] * 35 + [250.0] * 5}}, ["speed of the slowest 5 % 4 tok/s, below 5 tok/s"]),
        ({"values": {"queue": [2_500.0] * 40}}, ["P95 wait in the queue 2.5 s, above 2 s"]),
        ({"failed": 1}, ["error rate 2.5 %, above 1 %"]),
        ({"cancelled": 5}, ["cancel rate 12.5 %, above 10 %"]),
        ({"prompt_tokens": 100, "cached_tokens": 19}, ["cache hit rate 19 %, below 20 %"]),
        ({"prompt_tokens": 100, "cached_tokens": 20, "cancelled": 4}, []),
    ],
)
def test_each_threshold_of_the_design(broken: dict[str, Any], words: list[str]) -> None:
    assert [str(alert) for alert in alerts(summed("all", [cell(turns=40, **broken)]))] == words


def test_there_are_as_many_thresholds_as_in_the_design() -> None:
    assert len(THRESHOLDS) == 8


def test_a_few_turns_are_not_judged() -> None:
    assert alerts(summed("all", [cell(turns=ENOUGH_TURNS - 1, failed=5)])) == ()
    assert len(alerts(summed("all", [cell(turns=ENOUGH_TURNS, failed=5)]))) == 1
