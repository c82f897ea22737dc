"""Nothing that a terminal would obey survives."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.segment import Segment

from tui.markdown.flow import width_of
from tui.markdown.sanitize import hold, sanitize, scrub

SCOTLAND = "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"
WALES = "🏴\U000e0067\U000e0062\U000e0077\U000e006c\U000e0073\U000e007f"
ANY_CHARACTER = st.characters() | st.sampled_from("\x1b\x9b\x07\r\n\t\u202e\u2066\u200b\ud800\u200d\ufe0f❤न")
ANY = st.lists(ANY_CHARACTER | st.sampled_from([SCOTLAND, WALES, SCOTLAND[:4], SCOTLAND[4:]])).map("".join)


@given(ANY)
def test_no_control_or_hidden_direction_character_is_left(text: str) -> None:
    clean = sanitize(text)
    assert all(char == "\n" or unicodedata.category(char) not in ("Cc", "Cs", "Zl", "Zp") for char in clean)
    assert not set(clean) & set("\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")
    clean.encode()


@given(ANY)
def test_sanitizing_twice_changes_nothing_more(text: str) -> None:
    assert sanitize(sanitize(text)) == sanitize(text)
    assert scrub(scrub(text)) == scrub(text)


@given(st.lists(ANY))
def test_pieces_give_the_same_as_the_whole(pieces: list[str]) -> None:
    held, clean = "", ""
    for piece in pieces:
        ready, held = hold(held + piece)
        clean += scrub(ready, clean[-1:])
    assert clean + scrub(held, clean[-1:]) == scrub("".join(pieces))


@given(st.text(alphabet=st.characters(categories=("L", "N", "P", "S"), exclude_characters="\u2028\u2029")))
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert sanitize(text) == text


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("a\x1b[31mred", "a␛[31mred"),
        ("\x9b2J", "‹U+009B›2J"),
        ("x\r\ny\rz", "x\ny\nz"),
        ("\tx", "    x"),
        ("safe\u202egpj", "safe‹U+202E›gpj"),
        ("\x00\x7f", "␀␡"),
        ("\ud800", "\ufffd"),
        ("soft\xadhyphen", "soft‹U+00AD›hyphen"),
        ("a\ufe0f\ufe0e", "a‹U+FE0F›‹U+FE0E›"),
        ("x\U000e0101", "x‹U+E0101›"),
        ("葛\U000e0101\U000e0102", "葛\U000e0101‹U+E0102›"),
        ("a\u200db\u200c", "a‹U+200D›b‹U+200C›"),
        ("👩\u200d\u200d", "👩\u200d‹U+200D›"),
        ("\u3164\u115f", "‹U+3164›‹U+115F›"),
        ("❤\ufe0f\u200d🔥 1\ufe0f\u20e3 🏳\ufe0f\u200d🌈", "❤\ufe0f\u200d🔥 1\ufe0f\u20e3 🏳\ufe0f\u200d🌈"),
        ("\U000e0068\U000e0069", "‹U+E0068›‹U+E0069›"),
        ("👩\u200d👧 نمی\u200cخواهم", "👩\u200d👧 نمی\u200cخواهم"),
        (f"{SCOTLAND}{SCOTLAND}\U000e0067 {WALES}\u200d", f"{SCOTLAND}{SCOTLAND}‹U+E0067› {WALES}‹U+200D›"),
        (SCOTLAND[:-1], "🏴‹U+E0067›‹U+E0062›‹U+E0073›‹U+E0063›‹U+E0074›"),
        ("🏴\U000e0068\U000e0069\U000e007f", "🏴‹U+E0068›‹U+E0069›‹U+E007F›"),
    ],
)
def test_what_becomes_of_it(text: str, clean: str) -> None:
    assert sanitize(text) == clean


def test_a_flag_takes_two_cells() -> None:
    assert width_of([Segment(scrub(SCOTLAND))]) == 2
