"""Lines of JSON, whatever pieces they come in."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from backends.sse.lines import LineDecoder


@given(st.lists(st.text(st.characters(exclude_characters="\n"))), st.integers(1, 9), st.booleans())
def test_any_lines_in_any_pieces(lines: list[str], size: int, ended: bool) -> None:
    text = "\n".join(lines) + ("\n" if ended else "")
    decoder = LineDecoder()

    found = [line for at in range(0, len(text), size) for line in decoder.feed(text[at : at + size])]

    whole = lines if ended else lines[:-1]
    assert found == [line for line in whole if line.strip()]
