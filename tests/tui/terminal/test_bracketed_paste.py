"""A paste is one text, however it comes and whatever stands in it."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from textual import events
from textual._xterm_parser import XTermParser

from tui.bracketed_paste import END, SHOWN, START, PasteGuard

KEYS = st.text("ab1", max_size=4)
PASTED = st.text("ab[2~0\x07\x1b\r", max_size=20).filter(lambda text: END not in text and not END.startswith(text[-5:]))


def read(pieces: list[str]) -> list[str]:
    """What Textual's parser makes of what comes in `pieces`: its keys, and texts in angle brackets."""
    guard, parser = PasteGuard(), XTermParser()
    passed = [text for piece in pieces if (text := guard.pass_on(piece))]
    messages = [message for text in passed for message in parser.feed(text)]
    return [f"<{one.text}>" if isinstance(one, events.Paste) else str(one.key) for one in messages]  # type: ignore[attr-defined]


def cut(text: str, cuts: list[int]) -> list[str]:
    """`text` in pieces."""
    places = sorted({0, len(text), *(place % (len(text) + 1) for place in cuts)})
    return [text[start:end] for start, end in pairwise(places)]


@given(KEYS, PASTED, KEYS, st.lists(st.integers(0, 100), max_size=6))
def test_nothing_in_a_paste_is_a_key(before: str, pasted: str, after: str, cuts: list[int]) -> None:
    seen = read(cut(before + START + pasted + END + after, cuts))
    shown = [f"<{pasted.replace(chr(27), SHOWN)}>"] if pasted else []
    assert seen == [*before, *shown, *after]


def test_a_bell_in_a_pasted_sequence_is_not_ctrl_g() -> None:
    assert read([f"{START}\x1b]52;c;aGk=\x07\x1b[31mred{END}x"]) == ["<^[]52;c;aGk=\x07^[[31mred>", "x"]
