"""Scheduling decisions, against naive twins and over whole lives of random requests."""

from __future__ import annotations

from collections import Counter
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.backend import Feature
from backends.engine.kv_cells import KvCells
from backends.engine.options import EngineOptions
from backends.engine.scheduler import (
    EFFICIENT_CHUNK,
    FIRST_CHUNK,
    HANDICAP_MS,
    MAX_CHUNK,
    MIN_CHUNK,
    PATIENT,
    SLOWDOWN,
    Active,
    Candidate,
    Stay,
    alike,
    answer_limit,
    batch_is_formed,
    expected_waits,
    most_at_once,
    place_in_line,
    places,
    plan_step,
    prefill_budget,
)

features = st.sampled_from(get_args(Feature))
actives = st.lists(st.tuples(st.integers(1, 600), st.integers(0, 5), st.integers(0, 3)), max_size=12)


# ---- a step


def naive_plan(active: list[Active], prefill_budget: int, batch_limit: int) -> Counter[int]:
    """Token by token: everybody's single token, then prompt tokens by place in line, until a budget is spent."""
    decode = [it.key for it in active if it.pending == 1]
    prefill, taken = [], set()
    for it in sorted(active, key=lambda it: (it.due, it.key)):
        if it.pending > 1 and it.stretch not in taken:
            prefill += [it.key] * it.pending
            taken |= {it.stretch} - {0}
    step = decode[:batch_limit]
    return Counter(step + prefill[: max(0, min(prefill_budget, batch_limit - len(step)))])


@given(actives, st.integers(1, 300), st.integers(1, 400))
def test_a_step_is_what_the_naive_twin_packs(fields: list[tuple[int, int, int]], budget: int, limit: int) -> None:
    active = [
        Active(key, pending, due, stretch if pending > 1 else 0) for key, (pending, due, stretch) in enumerate(fields)
    ]
    plan = plan_step(active, budget, limit)
    assert Counter({chunk.key: chunk.tokens for chunk in plan}) == naive_plan(active, budget, limit)
    assert len({chunk.key for chunk in plan}) == len(plan)
    for chunk in plan:
        assert chunk.last == (chunk.tokens == active[chunk.key].pending)


def test_decode_tokens_come_before_prompts_and_prompts_by_their_place() -> None:
    plan = plan_step([Active(1, 500, 7.0), Active(2, 1, 9.0), Active(3, 300, 3.0), Active(4, 1)], 512, 2048)
    assert [(chunk.key, chunk.tokens, chunk.last) for chunk in plan] == [
        (2, 1, True),
        (4, 1, True),
        (3, 300, True),
        (1, 212, False),
    ]


def test_a_batch_prompt_that_runs_yields_to_a_chat_prompt() -> None:
    batch, chat = place_in_line(1000, "batch", 0), place_in_line(9000, "chat", 0)
    assert [chunk.key for chunk in plan_step([Active(1, 5000, batch), Active(2, 400, chat)], 128, 2048)] == [2]


def test_a_common_stretch_is_computed_once_for_the_first_in_line() -> None:
    plan = plan_step([Active(1, 500, 5.0, 77), Active(2, 480, 1.0, 77), Active(3, 30, 9.0, 0)], 512, 2048)
    assert [(chunk.key, chunk.tokens) for chunk in plan] == [(2, 480), (3, 30)]


# ---- the prefill budget

seconds = st.floats(1e-4, 1.0)


@given(st.booleans(), seconds, seconds, st.floats(1e-3, 1.0))
def test_a_step_takes_about_its_target_or_what_a_prompt_needs_at_least(
    decoding: bool, plain: float, token: float, gap: float
) -> None:
    tokens = prefill_budget(decoding, plain, token, gap)
    if not decoding:
        assert tokens == EFFICIENT_CHUNK or tokens * token <= gap
        return
    assert tokens >= MIN_CHUNK
    assert tokens * token >= SLOWDOWN * plain - token, "a prompt would be more than an eighth slower than alone"
    if tokens > MIN_CHUNK:
        assert tokens * token + plain <= max(gap, (1 + SLOWDOWN) * plain) + token
    if tokens > MAX_CHUNK:
        assert tokens * token <= SLOWDOWN * plain + token


@given(st.booleans(), seconds, seconds, st.floats(0.02, 1.0))
def test_where_a_step_cannot_be_aborted_it_is_never_long(
    decoding: bool, plain: float, token: float, longest: float
) -> None:
    tokens = prefill_budget(decoding, plain, token, 0.1, longest)
    assert tokens == MIN_CHUNK or tokens * token + decoding * plain <= longest


@given(st.integers(1, 4096), seconds, st.floats(0.02, 1.0))
def test_nor_where_most_tokens_a_second_are_wanted(tokens: int, token: float, longest: float) -> None:
    budget = most_at_once(tokens, token, longest)
    assert budget <= tokens
    assert budget <= MIN_CHUNK or budget * token <= longest * (1 + 1e-9)
    assert budget in (tokens, MIN_CHUNK) or (budget + 1) * token >= longest * (1 - 1e-9), "as many as that allows"
    assert most_at_once(tokens, token) == most_at_once(tokens, 0.0, longest) == tokens


def test_before_anything_is_measured_the_budget_is_cautious() -> None:
    assert prefill_budget(True, 0.0, 0.0, 0.05) == FIRST_CHUNK
    assert prefill_budget(False, 0.0, 0.0, 0.05) == EFFICIENT_CHUNK


# ---- the line


@given(st.floats(0, 1e6), features, st.floats(0, 1e5), st.floats(0, 1e6), features, st.floats(0, 1e5))
def test_nobody_waits_for_one_who_came_much_later(
    came: float, feature: Feature, prompt: float, other: float, others: Feature, others_prompt: float
) -> None:
    """The bound that the module states: overtaken only by who came within one's own handicap and prompt time."""
    if place_in_line(other, others, others_prompt) < place_in_line(came, feature, prompt):
        assert other <= came + HANDICAP_MS[feature] + prompt + 1e-6


@given(st.lists(st.tuples(st.integers(0, 60), features), max_size=60))
def test_a_batch_request_is_served_whatever_keeps_coming(arrivals: list[tuple[int, Feature]]) -> None:
    """One server, one second each, chats for ever: whoever waits is served before all who came a handicap later."""
    line = [(came * 1000.0, feature) for came, feature in arrivals] + [
        (second * 1000.0, "chat") for second in range(60)
    ]
    served: list[tuple[float, Feature]] = []
    now = 0.0
    while line:
        here = [it for it in line if it[0] <= now] or [min(line)]
        now = max(now, min(here)[0])
        it = min(here, key=lambda it: place_in_line(*it, 0.0))
        line.remove(it)
        served.append(it)
        now += 1000
    for at, (came, feature) in enumerate(served):
        overtakers = [other for other in served[:at] if other[0] > came]
        assert all(other[0] <= came + HANDICAP_MS[feature] for other in overtakers)


lines = st.lists(features, max_size=10)


def naive_places(line: list[Feature], running: list[Feature], streams: int, patient: int) -> list[int]:
    """One at a time: the first in line who may have one of the streams that are left takes it."""
    chosen: list[int] = []
    while len(running) < streams:
        taken = len([feature for feature in running if feature in ("summarize", "batch")])
        may = [
            at for at, it in enumerate(line) if at not in chosen and (it in ("chat", "completion") or taken < patient)
        ]
        if not may:
            break
        chosen.append(may[0])
        running = [*running, line[may[0]]]
    return chosen


@given(lines, lines, st.integers(1, 6), st.integers(1, 6))
def test_streams_go_to_whom_the_naive_twin_gives_them(
    line: list[Feature], running: list[Feature], streams: int, patient: int
) -> None:
    chosen = places(line, running, streams, patient)
    assert chosen == naive_places(line, running, streams, patient)
    people = [at for at, feature in enumerate(line) if feature not in PATIENT]
    assert not chosen or chosen == sorted(set(chosen))
    if not running and patient < streams and people:
        assert people[0] in chosen, "a chat finds a stream however much work stands before it"


def test_one_stream_is_for_everybody() -> None:
    assert places(["batch", "chat"], [], 1, EngineOptions(model="m", max_streams=1).patient_streams) == [0]
    assert [EngineOptions(model="m", max_streams=4, batch_streams=given).patient_streams for given in (0, 2, 9)] == [
        3,
        2,
        4,
    ]


# ---- how long it takes

stays = st.lists(st.builds(Stay, st.integers(0, 9), st.integers(1, 40), st.booleans(), st.integers(0, 9)), max_size=6)


def naive_waits(running: list[Stay], waiting: list[Stay], streams: int, patient: int, cells: int) -> list[float]:
    """Second by second: who has ended leaves, then who can starts, as often as that changes anything; then one prompt
    goes on, and all answers whose prompt is computed."""
    here: list[list[Any]] = [[it.prompt, it.answer, it] for it in running]
    waits: dict[int, float] = {}
    for now in range(1000):
        changes = True
        while changes:
            for each in [each for each in here if each[:2] == [0, 0]]:
                here = [other for other in here if other is not each]
                streams, patient, cells = streams + 1, patient + each[2].patient, cells + each[2].cells
            changes = False
            for index, it in enumerate(waiting):
                if index in waits or (it.patient and not patient):
                    continue
                if not streams or cells < it.cells:
                    break
                waits[index], changes = now, True
                here.append([it.prompt, it.answer, it])
                streams, patient, cells = streams - 1, patient - it.patient, cells - it.cells
        if len(waits) == len(waiting):
            return [waits[index] for index in range(len(waiting))]
        reading = next((each for each in here if each[0]), None)
        for each in here:
            if each is reading:
                each[0] -= 1
            elif not each[0]:
                each[1] -= 1
    raise AssertionError("somebody never starts")


@given(stays, stays, st.integers(0, 3), st.integers(0, 3), st.integers(0, 60))
def test_expected_waits_are_those_of_the_naive_twin(
    running: list[Stay], waiting: list[Stay], streams: int, patient: int, cells: int
) -> None:
    if not running:
        streams = max(1, streams)
    if not any(it.patient for it in running):
        patient = max(1, patient)
    cells = max(cells, 40 - sum(it.cells for it in running))  # so that everybody fits when the others are gone
    found = expected_waits(running, waiting, streams, patient, cells)
    assert found == naive_waits(running, waiting, streams, patient, cells)
    chats = [wait for wait, it in zip(found, waiting, strict=True) if not it.patient]
    assert chats == sorted(chats)


def test_prompts_are_computed_one_after_the_other() -> None:
    large = Stay(1, 1, prompt=10)
    assert expected_waits([large, large, large], [large] * 4, 0, 1, 10) == [11, 21, 31, 41]


def test_a_chat_need_not_wait_for_the_patient_ones_before_it() -> None:
    waiting = [Stay(9, 1, True), Stay(1, 1), Stay(1, 1, True)]
    assert expected_waits([Stay(5, 1, True)], waiting, 1, 0, 10) == [5, 0, 14]


def test_who_shares_so_much_that_the_estimate_sees_no_room_is_not_waited_for_in_vain() -> None:
    assert expected_waits([Stay(5, 10)], [Stay(1, 100)], 0, 1, 0) == [5]


# ---- batches


def test_when_a_batch_is_formed() -> None:
    assert batch_is_formed(4, 4, 0, 100, True), "it is full"
    assert batch_is_formed(1, 4, 100, 100, True), "it was waited for long enough"
    assert batch_is_formed(1, 4, 0, 100, False), "nobody else is coming"
    assert not batch_is_formed(3, 4, 99, 100, True)


@given(st.lists(st.integers(1, 1000), max_size=20), st.integers(1, 6))
def test_a_static_batch_is_the_first_and_those_nearest_to_its_size(sizes: list[int], streams: int) -> None:
    keys = alike([Candidate(key, cells) for key, cells in enumerate(sizes)], streams)
    assert keys == sorted(set(keys))
    assert len(keys) == min(streams, len(sizes))
    if sizes:
        assert keys[0] == 0
        farthest = max(abs(sizes[key] - sizes[0]) for key in keys)
        assert all(abs(size - sizes[0]) >= farthest for key, size in enumerate(sizes) if key not in keys)


# ---- whole lives


@given(
    st.lists(st.tuples(st.integers(2, 60), st.integers(1, 30), st.integers(0, 3), features), min_size=1, max_size=15),
    st.integers(90, 200),
    st.integers(1, 4),
    st.integers(1, 40),
)
def test_every_request_runs_to_its_end_within_the_cells(
    requests: list[tuple[int, int, int, Feature]], total: int, slots: int, budget: int
) -> None:
    """A whole life: wait, join, share, step, end. Requests are (prompt, answer) tokens, of which each fits alone; those
    of one family have all of the shorter prompt but its last token in common."""
    line = sorted(range(len(requests)), key=lambda key: place_in_line(key, requests[key][3], 0.0))
    cells, free_slots = KvCells(total), list(range(slots))
    slot_of: dict[int, int] = {}
    computed: dict[int, int] = {}
    known: dict[int, int] = {}
    started: list[int] = []

    def lender(key: int) -> tuple[int, int]:
        family = [other for other in slot_of if requests[other][2] == requests[key][2]]
        shared = {other: min(requests[other][0], requests[key][0]) - 1 for other in family}
        return max(((slot_of[other], tokens) for other, tokens in shared.items()), key=lambda it: it[1], default=(0, 0))

    while line or slot_of:
        while line and free_slots:
            key = line[0]
            need, (giver, tokens) = sum(requests[key][:2]), lender(key)
            if need - tokens > cells.total - cells.busy:
                break
            slot_of[line.pop(0)] = slot = free_slots.pop()
            if tokens:
                cells.join(slot, giver, tokens)
            cells.promise(slot, need)
            cells.fill(slot, cells.ahead(slot)[1])
            computed[key], known[key] = cells.used_by(slot), requests[key][0]
            started.append(key)
        active = [
            Active(key, known[key] - computed[key], place_in_line(key, requests[key][3], 0.0), cells.stretch(slot))
            for key, slot in slot_of.items()
        ]
        plan = plan_step(active, budget, 50)
        assert plan
        assert {it.key for it in active if it.pending == 1} <= {it.key for it in plan}, "a running answer was left out"
        for chunk in plan:
            key = chunk.key
            computed[key] += chunk.tokens
            cells.fill(slot_of[key], computed[key])
            if chunk.last:
                known[key] += 1
            if known[key] - requests[key][0] == requests[key][1]:
                free_slots.append(slot_of.pop(key))
                cells.release(free_slots[-1])
                del computed[key]
        for key, slot in slot_of.items():
            computed[key] = cells.ahead(slot)[1]
            cells.fill(slot, computed[key])
        cells.check({slot: computed[key] for key, slot in slot_of.items()})
    assert started == sorted(started, key=lambda key: place_in_line(key, requests[key][3], 0.0))
    assert sorted(started) == list(range(len(requests)))
    assert cells.promised == 0


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


@pytest.mark.parametrize(
    ("prompt", "asked", "expected"),
    [(900, None, 256), (100, 9000, 9000), (1023, 50, 50), (1024, 50, 0), (1024, None, 0), (2000, None, -976)],
)
def test_an_answer_that_shifts_needs_room_for_one_token_only(prompt: int, asked: int | None, expected: int) -> None:
    assert answer_limit(prompt, asked, default=256, n_ctx=1024, shifts=True) == expected
