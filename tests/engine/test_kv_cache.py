"""The account of the KV cache, against a naive twin that has every cell as an object."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from backends.engine.kv_cache import KvCells, bytes_per_token, plan
from backends.engine.options import EngineOptions

TOTAL = 40
slots = st.integers(0, 5)
counts = st.integers(0, 30)


class Twin(RuleBasedStateMachine):
    """Every rule is done to the account and to a list of cells, each of which says who owns and who fills it."""

    def __init__(self) -> None:
        super().__init__()
        self.cells = KvCells(TOTAL)
        self.owner: list[int | None] = [None] * TOTAL
        self.filled: list[bool] = [False] * TOTAL

    def owned(self, slot: int) -> list[int]:
        return [cell for cell, owner in enumerate(self.owner) if owner == slot]

    @rule(slot=slots, count=counts)
    def promise(self, slot: int, count: int) -> None:
        free = [cell for cell, owner in enumerate(self.owner) if owner is None]
        if self.owned(slot) or not 0 < count <= len(free):
            with pytest.raises(ValueError):
                self.cells.promise(slot, count)
            return
        self.cells.promise(slot, count)
        for cell in free[:count]:
            self.owner[cell] = slot

    @rule(slot=slots, count=counts)
    def fill(self, slot: int, count: int) -> None:
        owned = self.owned(slot)
        if not owned or count > len(owned):
            with pytest.raises((ValueError, KeyError)):
                self.cells.fill(slot, count)
            return
        self.cells.fill(slot, count)
        for index, cell in enumerate(owned):
            self.filled[cell] = index < count

    @rule(slot=slots)
    def release(self, slot: int) -> None:
        owned = self.owned(slot)
        if not owned:
            with pytest.raises(KeyError):
                self.cells.release(slot)
            return
        self.cells.release(slot)
        for cell in owned:
            self.owner[cell], self.filled[cell] = None, False

    @invariant()
    def agree(self) -> None:
        assert self.cells.promised == sum(owner is not None for owner in self.owner)
        assert self.cells.used == sum(self.filled)
        assert self.cells.free == self.owner.count(None)
        held = {
            slot: sum(self.filled[cell] for cell in self.owned(slot))
            for slot in {owner for owner in self.owner if owner is not None}
        }
        self.cells.check(held)


TestTwin = Twin.TestCase


def test_check_finds_a_cell_that_the_account_does_not_know() -> None:
    cells = KvCells(10)
    cells.promise(0, 5)
    cells.fill(0, 3)
    cells.check({0: 3})
    with pytest.raises(AssertionError):
        cells.check({0: 4})
    with pytest.raises(AssertionError):
        cells.check({0: 3, 1: 1})


def test_bytes_per_token_of_the_known_example() -> None:
    """80 layers x 64 heads x 128 in fp16: 2.6 MB a token; 4,096 tokens x 32 streams: about 341 GB."""
    token = bytes_per_token(80, 64, 128)
    assert token == 2_621_440
    assert token * 4096 * 32 / 1e9 == pytest.approx(343.6, abs=0.1)
    assert token * 4096 * 32 / 2**30 == 320


def test_grouped_query_heads_and_quantized_cells_are_cheaper() -> None:
    assert bytes_per_token(80, 8, 128) == 2_621_440 // 8
    assert bytes_per_token(32, 8, 128, "q8_0") == 2 * 32 * 8 * 128 * 34 // 32
    assert bytes_per_token(32, 8, 128, "f32") == 2 * bytes_per_token(32, 8, 128, "f16")


GIB = 1 << 30


@pytest.mark.parametrize(
    ("options", "trained", "token_bytes", "memory", "expected"),
    [
        ({}, 2048, 2_000, 8 * GIB, (2048, 8192)),  # a small model: a context for every stream
        ({}, 2048, 2_000, None, (2048, 8192)),  # on a GPU, say
        ({}, 131_072, 131_072, 64 * GIB, (131_072, 131_072)),  # a large context: one, however many streams
        ({}, 131_072, 131_072, 8 * GIB, (32_768, 32_768)),  # as much of it as half of the memory holds
        ({}, 131_072, 131_072, None, (131_072, 131_072)),
        ({}, 4096, GIB // 8192, 64 * GIB, (4096, 8192)),  # further streams as far as a GiB goes
        ({"n_ctx": 8192}, 4096, 1000, 8 * GIB, (8192, 32_768)),  # what was asked for is taken as it is
        ({"n_ctx": 4096, "kv_cells": 5000}, 8192, 1000, GIB, (4096, 5000)),
        ({"kv_cells": 1000}, 8192, 1000, GIB, (1000, 1000)),
        ({"kv_cells": 20_000}, 8192, 1000, GIB, (8192, 20_000)),
        ({"max_streams": 2}, 512, 0, 8 * GIB, (512, 1024)),  # a model without a KV cache
    ],
)
def test_context_and_cells_are_chosen_by_what_they_cost(
    options: dict[str, int], trained: int, token_bytes: int, memory: int | None, expected: tuple[int, int]
) -> None:
    assert plan(EngineOptions(model="m.gguf", **options), trained, token_bytes, memory) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{"n_ctx": 100_000}, {"kv_cells": 100_000}, {}])
def test_a_cache_larger_than_the_memory_is_refused_with_the_numbers(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"takes .* GiB, but 0\.0 GiB of memory are free"):
        plan(EngineOptions(model="m.gguf", **options), 4096, 131_072, 50 << 20)  # type: ignore[arg-type]
