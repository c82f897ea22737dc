"""Text flowed into lines: nothing lost, nothing too wide."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.style import Style

from tui.markdown.flow import Line, Run, fold, wrap

STYLES = [Style(), Style(bold=True), Style(color="red")]
UNITS = [*"ab c  -\n你好、", "é", "e\u0301", "👩\u200d👧", "🇩🇪", "✔\ufe0f"]
TEXT = st.lists(st.sampled_from(UNITS)).map("".join)
RUNS = st.lists(st.tuples(TEXT, st.sampled_from(STYLES)))


def texts(lines: list[Line]) -> list[str]:
    return ["".join(segment.text for segment in line) for line in lines]


@given(RUNS, st.integers(2, 30))
def test_lines_fit_and_only_blanks_at_breaks_are_lost(runs: list[Run], width: int) -> None:
    joined = "".join(text for text, _ in runs)
    for line in texts(wrap(runs, width)):
        assert cell_len(line) <= width
    assert "".join("".join(texts(wrap(runs, width))).split()) == "".join(joined.split())


@given(RUNS, st.integers(2, 30))
def test_folding_keeps_every_character(runs: list[Run], width: int) -> None:
    joined = "".join(text for text, _ in runs)
    lines = texts(fold(runs, width))
    assert all(cell_len(line) <= width for line in lines)
    assert "".join(lines) == joined.replace("\n", "")


@given(RUNS, st.integers(2, 30))
def test_styles_stay_with_their_characters(runs: list[Run], width: int) -> None:
    before = [(char, style) for text, style in runs for char in text if not char.isspace()]
    after = [(char, s.style) for line in wrap(runs, width) for s in line for char in s.text if not char.isspace()]
    assert after == before


def test_words_move_whole_and_long_ones_break() -> None:
    assert texts(wrap([("the quick brownfoxjumps", Style())], 9)) == ["the quick", "brownfoxj", "umps"]
    assert texts(wrap([("a  b", Style())], 9)) == ["a  b"]


def test_east_asian_text_breaks_anywhere_but_before_closing_punctuation() -> None:
    assert texts(wrap([("价格是十二元。", Style())], 12)) == ["价格是十二", "元。"]


def test_indentation_is_kept() -> None:
    assert texts(wrap([("  x\n    y", Style())], 20)) == ["  x", "    y"]
