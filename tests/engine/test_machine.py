"""What the machine offers."""

from __future__ import annotations

import os

import pytest

from backends.engine.machine import available_memory, physical_cores, threads_for


@pytest.mark.parametrize(
    ("model_mib", "cores", "threads"), [(5, 8, 1), (40, 8, 2), (130, 8, 8), (4000, 2, 2), (0, 4, 1)]
)
def test_a_small_model_gets_few_threads(model_mib: int, cores: int, threads: int) -> None:
    assert threads_for(model_mib << 20, cores) == threads


def test_there_is_at_least_one_core() -> None:
    assert 1 <= physical_cores() <= (os.cpu_count() or 1)


def test_free_memory_is_less_than_there_is() -> None:
    free = available_memory()
    if free is None:
        pytest.skip("this system does not tell")
    assert 1 << 20 < free < os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
