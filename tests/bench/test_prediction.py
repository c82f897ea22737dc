"""What batching should gain, on costs and lengths that can be reckoned by hand."""

from __future__ import annotations

import pytest

from backends.bench.prediction import CHUNK, Request, line, predicted_gain, seconds, step_cost

BATCHES = [[Request(1, 2), Request(1, 10)], [Request(1, 2), Request(1, 10)]]


def test_where_a_step_costs_the_same_for_any_number_the_places_that_stay_empty_are_the_gain() -> None:
    """The first token of an answer comes with its prompt: 10 + 10 steps one after the other; or the third request
    takes the place of the first after two, the fourth that of the third after four, and ends after fourteen."""
    assert seconds(BATCHES[0], 2, lambda *_: 1.0) == 10
    assert seconds(BATCHES[0] + BATCHES[1], 2, lambda *_: 1.0) == 14
    assert predicted_gain(BATCHES, 2, lambda *_: 1.0) == pytest.approx(20 / 14)


def test_where_a_step_costs_as_much_as_it_holds_there_is_nothing_to_gain() -> None:
    assert predicted_gain(BATCHES, 2, lambda rows, tokens, _: float(rows + tokens)) == pytest.approx(1)


def test_where_it_costs_what_others_hold_company_is_a_loss() -> None:
    assert predicted_gain(BATCHES, 2, lambda rows, tokens, cells: float((rows + tokens) * cells)) < 1


def test_a_prompt_is_computed_in_chunks_and_all_cells_are_counted() -> None:
    steps: list[tuple[int, int, int]] = []

    def cost(rows: int, tokens: int, cells: int) -> float:
        steps.append((rows, tokens, cells))
        return 1.0

    assert seconds([Request(CHUNK + 5, 2), Request(CHUNK, 3)], 2, cost) == len(steps)
    assert steps == [
        (0, CHUNK, CHUNK),
        (0, CHUNK, 2 * CHUNK),
        (1, 5, 2 * CHUNK + 6),
        (1, 0, CHUNK + 1),
        (1, 0, CHUNK + 2),
    ]


def test_the_cost_lies_on_the_lines_between_what_was_measured() -> None:
    assert [line({8: 9.0, 1: 2.0, 4: 5.0}, at) for at in (1, 2, 4, 6, 8, 9)] == [2, 3, 5, 7, 9, 10]
    assert line({3: 5.0}, 7) == 5
    step = step_cost({1: {256: 1.0, 1024: 4.0}, 3: {256: 3.0, 1024: 6.0}}, {256: 0.5, 1024: 2.0})
    assert step(2, 0, 200) == 2
    assert step(2, 0, 1000) == 5
    assert step(1, 4, 600) == pytest.approx(1 + 3 * 512 / 768 + 4 * (0.5 + 1.5 * 512 / 768))
    assert step(0, 4, 256) == 1 + 3 * 0.5, "one of a prompt alone is the row of the step"
