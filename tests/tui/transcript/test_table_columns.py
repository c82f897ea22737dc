"""How the width of a table is shared."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tui.markdown.table import Columns, Row

WORDS = st.lists(st.text("ab", min_size=1, max_size=16), min_size=1, max_size=8).map(" ".join)
GAP = 3


def row(*cells: str) -> Row:
    return [[(cell, None)] for cell in cells]  # type: ignore[list-item]


@given(st.data(), st.integers(1, 6), st.integers(10, 120))
def test_no_table_is_wider_than_its_window_and_no_word_is_broken_without_need(
    data: st.DataObject, count: int, width: int
) -> None:
    columns = Columns(count, width)
    longest, natural = [1] * count, [1] * count
    for cells in data.draw(st.lists(st.lists(WORDS, min_size=count, max_size=count), min_size=1, max_size=4)):
        columns.widen(row(*cells))
        longest = [max(most, *map(len, cell.split())) for most, cell in zip(longest, cells, strict=True)]
        natural = [max(most, len(cell)) for most, cell in zip(natural, cells, strict=True)]
    room = width - GAP * (count - 1)
    if columns.shares is None:
        assert sum(longest) > room
        return
    assert sum(columns.shares) == min(room, sum(natural))
    assert all(share <= most for share, most in zip(columns.shares, natural, strict=True))
    if sum(longest) <= room:
        assert all(share >= most for share, most in zip(columns.shares, longest, strict=True))


def test_a_word_takes_from_the_column_that_has_more() -> None:
    columns = Columns(2, 24)
    columns.widen(row("Quantisation method", "what it means for the model"))
    assert columns.shares == (12, 9)


def test_a_very_long_word_does_not_take_all() -> None:
    columns = Columns(2, 43)
    columns.widen(row("x" * 200, "many words that have to be read"))
    assert columns.shares == (20, 20)
