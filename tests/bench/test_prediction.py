"""What batching should gain, on costs and lengths that can be reckoned by hand."""

from __future__ import annotations

import pytest

from backends.bench.prediction import continuous_seconds, predicted_gain, static_seconds, step_cost

BATCHES = [[1, 9], [1, 9]]


def test_where_a_step_costs_the_same_for_any_number_the_places_that_stay_empty_are_the_gain() -> None:
    assert continuous_seconds([1, 9, 1, 9], 2, lambda _: 1.0) == 11
    assert static_seconds(BATCHES, lambda _: 1.0) == 18
    assert predicted_gain(BATCHES, 2, lambda _: 1.0, 0.0) == pytest.approx(18 / 11)
    assert predicted_gain(BATCHES, 2, lambda _: 1.0, 9.0) == pytest.approx(27 / 20), "prompts take the same in both"


def test_where_a_step_costs_as_much_as_it_makes_there_is_nothing_to_gain() -> None:
    assert predicted_gain(BATCHES, 2, float, 0.0) == pytest.approx(1)


def test_the_cost_lies_on_the_lines_between_what_was_measured() -> None:
    cost = step_cost({8: 9.0, 1: 2.0, 4: 5.0})
    assert [cost(streams) for streams in (1, 2, 4, 6, 8, 9)] == [2, 3, 5, 7, 9, 9]
