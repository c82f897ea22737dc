"""Whatever goes wrong between client and server, in every dialect: the right ending, a clear line, nothing lost."""

from __future__ import annotations

import pytest

from backends.sse import retries
from tests.fakes.dialects import DIALECTS
from tests.fakes.faults import FAULTS, mistakes, try_out


@pytest.mark.parametrize(
    ("fault", "dialect"), [(it.name, name) for it in FAULTS.values() for name in sorted(it.dialects)]
)
async def test_fault(fault: str, dialect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "_FIRST", 0.01)

    ending = await try_out(FAULTS[fault], DIALECTS[dialect])

    assert mistakes(FAULTS[fault], DIALECTS[dialect], ending) == []
