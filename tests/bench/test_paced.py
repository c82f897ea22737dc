"""The load generator against a server that keeps to a schedule: the short form of ``python -m tests.bench.load``.

On a busy machine a request may be late by itself; that the figures are right shows in the best of a few.
"""

from __future__ import annotations

import pytest

from backends.bench.sweep import Level
from tests.bench.load.__main__ import distortion, measure, paced_server
from tests.bench.load.paced_server import Pace, Passed


async def test_what_is_measured_is_what_passed_at_the_server() -> None:
    record: list[Passed] = []
    with paced_server(Pace((20.0, 40.0), (4.0, 6.0), 10), record) as url:
        ((measured, _),) = await measure(url, [Level("clients", 4)], 0.3)
    assert measured.summary.answered == measured.summary.requests >= 8
    assert all(result.tokens == 10 and len(result.gaps) == 9 for result in measured.run.results)
    off = distortion(measured.run, record)
    assert min(off["there"]) >= 0
    assert min(off["back"]) >= 0
    assert min(off["both"]) < 15
    paces = {
        result.prompt_tokens: 1000 * (record[result.prompt_tokens].last - record[result.prompt_tokens].first) / 9
        for result in measured.run.results
        if result.prompt_tokens is not None
    }
    nearest = min(abs((result.tpot or 0) - paces[result.prompt_tokens or 0]) for result in measured.run.results)
    assert nearest == pytest.approx(0, abs=1.0)
