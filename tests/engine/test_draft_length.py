"""The choice of draft lengths: against all choices there are, and over whole answers of a simulated machine."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import pytest

from backends.engine.detokenizer import Detokenizer
from backends.engine.draft_length import (
    CATCH_UP_SECONDS,
    MIN_GAIN,
    Acceptance,
    Costs,
    Credit,
    Want,
    catch_up,
    choose,
)
from backends.engine.drafter import NgramDrafter, Offer
from backends.engine.draw import Draw
from backends.engine.sequence import Sequence
from backends.engine.speculation import Speculation

Cost = Callable[[int], float]


def line(base: float, slope: float) -> Cost:
    return lambda rows: base + slope * rows if rows else 0.0


def gain(wants: list[Want], lengths: tuple[int, ...], streams: int, step: Cost, draft: Cost) -> float:
    """The speed with `lengths` against plain decoding, by the formula."""
    tokens = streams + sum(
        sum(want.rate**power for power in range(1, length + 1)) for want, length in zip(wants, lengths, strict=True)
    )
    paid = [length for want, length in zip(wants, lengths, strict=True) if not want.free]
    drafting = sum(draft(sum(length > depth for length in paid)) for depth in range(max(paid, default=0)))
    return tokens / streams * step(streams) / (step(streams + sum(lengths)) + drafting)


@pytest.mark.parametrize("free", [True, False])
@pytest.mark.parametrize("slope", [0.02, 0.2, 0.6, 2.0])
@pytest.mark.parametrize("rates", [(0.9,), (0.3,), (0.95, 0.5), (0.9, 0.7, 0.2)])
def test_no_other_lengths_promise_more(rates: tuple[float, ...], slope: float, free: bool) -> None:
    wants = [Want(key, rate, 4, free) for key, rate in enumerate(rates)]
    step, draft = line(1.0, slope), line(0.1, 0.02)
    streams = len(wants) + 1
    chosen = choose(wants, streams, step, draft)
    lengths = tuple(chosen.by_key.get(want.key, 0) for want in wants)
    assert gain(wants, lengths, streams, step, draft) == pytest.approx(chosen.gain)
    best = max(gain(wants, other, streams, step, draft) for other in itertools.product(range(5), repeat=len(wants)))
    assert chosen.gain == pytest.approx(best, rel=0.02) if best > MIN_GAIN else chosen.by_key == {}


@pytest.mark.parametrize("token_seconds", [0.0, 1e-6, 1e-4, 1e-3, 0.5])
def test_a_long_prompt_is_read_in_chunks_that_others_can_wait_for(token_seconds: float) -> None:
    left, chunks = 8000, []
    while left:
        chunks.append(catch_up(left, token_seconds, 2048))
        left -= chunks[-1]
    assert set(chunks[:-1]) == {chunks[0]}
    assert 1 <= chunks[0] <= 2048
    assert chunks[0] * token_seconds <= CATCH_UP_SECONDS or chunks[0] == 1
    if 0 < token_seconds < CATCH_UP_SECONDS:
        assert chunks[0] in (2048, int(CATCH_UP_SECONDS / token_seconds)), "as many as that is"


def test_drafts_grow_with_acceptance_and_shrink_with_load() -> None:
    step, draft = line(1.0, 0.1), line(0.05, 0.01)

    def length(rate: float, streams: int) -> int:
        return choose([Want(1, rate, 8, False)], streams, step, draft).by_key.get(1, 0)

    by_rate = [length(rate, 1) for rate in (0.05, 0.3, 0.6, 0.8, 0.95)]
    assert by_rate == sorted(by_rate)
    assert by_rate[0] == 0
    assert by_rate[-1] == 8
    by_load = [choose([Want(k, 0.7, 8, False) for k in range(n)], n, step, draft).by_key for n in (1, 4, 16)]
    means = [sum(lengths.values()) / n for lengths, n in zip(by_load, (1, 4, 16), strict=True)]
    assert means == sorted(means, reverse=True)
    assert means[-1] < means[0]


def test_a_jump_in_the_cost_is_jumped_over() -> None:
    """Two rows cost much more than one, nine hardly more than two."""
    chosen = choose([Want(1, 0.9, 8, True)], 1, lambda rows: 1.0 if rows == 1 else 2.0 + 0.01 * rows, lambda n: 0.0)
    assert chosen.by_key == {1: 8}


def test_costs_between_and_beyond_what_was_measured() -> None:
    costs = Costs()
    assert 1 not in costs
    assert costs.of(3) == 0
    costs.measured(1, 1.0)
    assert 1.0 < costs.of(5) < 2.5
    costs.measured(5, 3.0)
    assert costs.of(3) == pytest.approx(2.0)
    assert costs.of(9) > 3.0
    costs.measured(7, 2.5)
    assert costs.of(5) == costs.of(7), "fewer rows never cost more"


def test_costs_follow_the_machine_and_not_its_hiccups() -> None:
    costs = Costs()
    for at in range(100):
        costs.measured(1, 50.0 if at % 10 == 5 else 1.0)
        costs.measured(4, 2.0)
    assert costs.of(1) == pytest.approx(1.0, rel=0.35)
    assert costs.of(4) == pytest.approx(2.0, rel=0.35)
    for _ in range(60):
        costs.measured(4, 4.0)
    assert costs.of(4) == pytest.approx(4.0, rel=0.1)
    assert costs.of(1) > 1.2, "what became dear for four rows did for one"


def test_rows_that_never_come_are_forgotten() -> None:
    costs = Costs()
    costs.measured(9, 100.0)
    for _ in range(600):
        costs.measured(1, 1.0)
    assert costs.of(9) < 5.0


def test_acceptance_is_that_of_the_sequence_once_it_is_known() -> None:
    acceptance = Acceptance()
    assert acceptance.rate("new", "model") == pytest.approx(Acceptance.GUESS["model"])
    for _ in range(50):
        acceptance.add("good", "model", 4, 4)
        acceptance.add("bad", "model", 0, 4)
    assert acceptance.rate("good", "model") > 0.9
    assert acceptance.rate("bad", "model") < 0.4
    assert acceptance.rate("bad", "model") < acceptance.rate("new", "model") < acceptance.rate("good", "model")
    assert acceptance.rate("good", "copy") == pytest.approx(Acceptance.GUESS["copy"])


def test_a_token_behind_a_rejected_one_was_not_tried() -> None:
    acceptance = Acceptance()
    for _ in range(200):
        acceptance.add("it", "model", 1, 8)
    assert acceptance.rate("it", "model") == pytest.approx(0.5, abs=0.05)


def test_credit_is_spent_by_losses_and_earned_back_slowly() -> None:
    credit = Credit()
    assert not credit.allows()
    credit.decoded(1.0)
    assert credit.allows(Credit.FIRST - 0.1)
    assert not credit.allows(Credit.FIRST + 0.1), "a first short answer loses no more"
    credit.settle(-1.0 - Credit.FIRST, 1.0)
    assert not credit.allows()
    steps = 0
    while not credit.allows():
        credit.decoded(1.0)
        steps += 1
    assert steps == pytest.approx(1 / Credit.EARNED, rel=0.1)
    credit.settle(100.0, 1.0)
    assert credit.allows(Credit.STEPS - 0.1)
    assert not credit.allows(Credit.STEPS + 0.1), "gains are not hoarded"


class Guess(NgramDrafter):
    """Always has something."""

    def offer(self, it: Sequence) -> Offer | None:
        return Offer("copy", True)

    def propose(self, wanted: list[tuple[Sequence, int]]) -> dict[int, list[int]]:  # type: ignore[override]
        return {it.key: [0] * count for it, count in wanted}


class Machine:
    """An engine's steps, simulated: what they cost by rows, how much of each draft is accepted, some noise."""

    def __init__(self, cost: Cost, draft_seconds: float, streams: int = 1) -> None:
        self.speculation = Speculation(Guess(), None, 8)
        self.chance = random.Random(5)
        self.cost, self.draft_seconds = cost, draft_seconds
        self.sequences = [Sequence([1], 100_000, Draw(), Detokenizer(), 0.0) for _ in range(streams)]
        self.seconds = 0.0

    def run(self, tokens: int, acceptance: float) -> float:
        """Make `tokens` for each sequence. Returns the speed against plain decoding."""
        begun, made, streams = self.seconds, 0, len(self.sequences)
        while made < tokens * streams:
            drafts = self.speculation.propose(self.sequences, 1000)
            gained = 0
            for it in self.sequences:
                draft = drafts.get(it.key, [])
                kept = 0
                while kept < len(draft) and self.chance.random() < acceptance:
                    kept += 1
                if draft:
                    self.speculation.verified(it, len(draft), kept)
                it.tokens += [0] * (kept + 1)
                gained += kept + 1
            rows = streams + sum(len(draft) for draft in drafts.values())
            seconds = self.cost(rows) * self.chance.choice((0.95, 1.0, 1.0, 1.1))
            seconds += self.draft_seconds * max((len(draft) for draft in drafts.values()), default=0)
            self.speculation.stepped(streams, rows, gained, seconds)
            self.seconds += seconds
            made += gained
        plain = self.cost(streams) * 1.0125 * made / streams
        return plain / (self.seconds - begun)


@pytest.mark.parametrize("streams", [1, 4])
@pytest.mark.parametrize("draft_seconds", [0.0, 0.3])
@pytest.mark.parametrize("slope", [0.0, 0.15, 1.0])
@pytest.mark.parametrize("acceptance", [0.0, 0.4, 0.8])
def test_it_is_never_much_slower_than_without(
    acceptance: float, slope: float, draft_seconds: float, streams: int
) -> None:
    """Also where drafts cost what nobody told it."""
    machine = Machine(line(1.0, slope), draft_seconds, streams)
    assert machine.run(500, acceptance) > 0.95
    assert machine.run(500, acceptance) > 0.95


def test_where_it_pays_it_is_much_faster() -> None:
    assert Machine(line(1.0, 0.05), 0.0).run(500, 0.9) > 3.0
    assert Machine(line(1.0, 0.15), 0.1).run(500, 0.8) > 1.4


def test_it_comes_back_when_drafts_become_good() -> None:
    machine = Machine(line(1.0, 0.1), 0.0)
    assert machine.run(1_000, 0.0) > 0.95
    machine.run(800, 0.95)
    assert machine.run(400, 0.95) > 2.0
