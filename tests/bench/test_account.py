"""The account of a turn against what passed outside: the short form of ``python -m tests.bench.account``.

On a busy machine a run may be late by itself; that the clocks are right shows in the best of a few.
"""

from __future__ import annotations

from collections import defaultdict

import pytest

from tests.bench.account.judge import ask, is_close, judge
from tests.bench.account.plan import plans
from tests.bench.account.slow_server import Passed, Record, slow_server

RUNS = 16


async def test_the_account_is_what_passed_outside() -> None:
    record: Record = defaultdict(Passed)
    planned = plans(seed=3, count=RUNS, longest_ms=25.0)
    async with slow_server(planned, record) as url:
        asked = await ask(url, planned, at_a_time=4)
    judged = [judge(*asked[number], record[number]) for number in range(RUNS)]
    for one, (_, timeline) in zip(judged, (asked[number] for number in range(RUNS)), strict=True):
        assert one.ttft[0] == pytest.approx(timeline.first_token_ms, abs=0.01)
        assert one.total[0] == pytest.approx(timeline.end_ms, abs=0.01)
    assert any(is_close(*one.ttft) and is_close(*one.total) for one in judged)
    for stage in {stage for one in judged for stage in one.stages}:
        assert min(abs(one.stages[stage]) for one in judged if stage in one.stages) < 15, stage
    assert {plan.told for plan in planned} == {True, False}
