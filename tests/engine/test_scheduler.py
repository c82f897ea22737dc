"""Scheduling decisions, against naive twins and over whole lives of random requests."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.engine.kv_cells import KvCells
from backends.engine.scheduler import Active, Candidate, admit, answer_limit, plan_step

pendings = st.lists(st.integers(1, 600), max_size=12)


def naive_plan(pending: list[int], prefill_budget: int, batch_limit: int) -> Counter[int]:
    """Token by token: everybody's single token first, then prompt tokens in order, until a budget is spent."""
    decode = [key for key, tokens in enumerate(pending) if tokens == 1]
    prefill = [key for key, tokens in enumerate(pending) if tokens > 1 for _ in range(tokens)]
    step = decode[:batch_limit]
    return Counter(step + prefill[: max(0, min(prefill_budget, batch_limit - len(step)))])


@given(pendings, st.integers(1, 300), st.integers(1, 400))
def test_a_step_is_what_the_naive_twin_packs(pending: list[int], prefill_budget: int, batch_limit: int) -> None:
    plan = plan_step([Active(key, tokens) for key, tokens in enumerate(pending)], prefill_budget, batch_limit)
    assert Counter({chunk.key: chunk.tokens for chunk in plan}) == naive_plan(pending, prefill_budget, batch_limit)
    assert len({chunk.key for chunk in plan}) == len(plan)
    for chunk in plan:
        assert chunk.last == (chunk.tokens == pending[chunk.key])


def test_decode_tokens_come_before_prompts() -> None:
    plan = plan_step([Active(1, 500), Active(2, 1), Active(3, 300), Active(4, 1)], 512, 2048)
    assert [(chunk.key, chunk.tokens, chunk.last) for chunk in plan] == [
        (2, 1, True),
        (4, 1, True),
        (1, 500, True),
        (3, 12, False),
    ]


@given(st.lists(st.integers(1, 100), max_size=10), st.integers(0, 5), st.integers(0, 300))
def test_admission_takes_the_longest_head_of_the_queue_that_fits(cells: list[int], slots: int, free: int) -> None:
    admitted = admit([Candidate(key, need) for key, need in enumerate(cells)], slots, free)
    fitting = max(n for n in range(len(cells) + 1) if n <= slots and sum(cells[:n]) <= free)
    assert admitted == list(range(fitting))


@given(
    st.lists(st.tuples(st.integers(1, 60), st.integers(1, 30)), min_size=1, max_size=15),
    st.integers(90, 200),
    st.integers(1, 4),
    st.integers(1, 40),
)
def test_every_request_runs_to_its_end_in_order_within_the_cells(
    requests: list[tuple[int, int]], total: int, slots: int, prefill_budget: int
) -> None:
    """A whole life: admit, step, end. `requests` are (prompt, answer) tokens, of which each fits alone."""
    waiting = [Candidate(key, prompt + answer) for key, (prompt, answer) in enumerate(requests)]
    cells, free_slots = KvCells(total), list(range(slots))
    computed: dict[int, int] = {}
    known: dict[int, int] = {}
    slot_of: dict[int, int] = {}
    started: list[int] = []
    while waiting or computed:
        for key in admit(waiting, len(free_slots), cells.free):
            need = waiting.pop(0).cells
            slot_of[key] = free_slots.pop()
            cells.promise(slot_of[key], need)
            computed[key], known[key] = 0, requests[key][0]
            started.append(key)
        plan = plan_step([Active(key, known[key] - computed[key]) for key in computed], prefill_budget, 50)
        decoding = {key for key in computed if known[key] - computed[key] == 1}
        assert plan
        assert decoding <= {chunk.key for chunk in plan}, "a running answer was left out of a step"
        for chunk in plan:
            computed[chunk.key] += chunk.tokens
            cells.fill(slot_of[chunk.key], computed[chunk.key])
            if chunk.last:
                known[chunk.key] += 1
            if known[chunk.key] - requests[chunk.key][0] == requests[chunk.key][1]:
                cells.release(slot_of[chunk.key])
                free_slots.append(slot_of.pop(chunk.key))
                del computed[chunk.key]
        cells.check({slot_of[key]: computed[key] for key in computed})
    assert started == sorted(started) == list(range(len(requests)))


@pytest.mark.parametrize(
    ("prompt", "asked", "expected"),
    [
        (100, None, 256),  # the default fits
        (900, None, 124),  # the default is cut to what is left
        (1024, None, 0),  # nothing is left
        (2000, None, -976),
        (100, 924, 924),  # what was asked for fits exactly
        (100, 925, 0),  # what was asked for is never cut
    ],
)
def test_answer_limit(prompt: int, asked: int | None, expected: int) -> None:
    assert answer_limit(prompt, asked, default=256, n_ctx=1024) == expected
