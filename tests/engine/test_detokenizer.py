"""Incremental detokenization: however the bytes are cut, the text is the same, whole, and ends at the stop string."""

from __future__ import annotations

import itertools

from hypothesis import example, given
from hypothesis import strategies as st

from backends.engine.detokenizer import Detokenizer
from backends.engine.reasoning import Said

stops = st.lists(st.text("ab€😀", min_size=1, max_size=4), max_size=3)
"""Over so few characters they overlap each other, and themselves, all the time."""
texts = st.text("ab€😀é", max_size=30)


def chunked(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(edges)]


def run(pieces: list[bytes], stop: list[str]) -> tuple[list[str], bool]:
    """The texts that were shown, and whether a stop string ended it."""
    detokenizer = Detokenizer(stop)
    shown = []
    for piece in pieces:
        shown.append(text(detokenizer.push(piece)))
        if detokenizer.stopped:
            return shown, True
    return [*shown, text(detokenizer.finish())], False


def text(said: list[Said]) -> str:
    """What was shown, when no block of thinking was."""
    assert not any(each.is_reasoning for each in said)
    return "".join(each.text for each in said)


def naive(text: str, stop: list[str]) -> tuple[str, bool]:
    """Character by character: the answer ends when it ends with a stop string, of which the longest is taken off."""
    for end in range(1, len(text) + 1):
        ended = [word for word in stop if text[:end].endswith(word)]
        if ended:
            return text[: end - len(max(ended, key=len))], True
    return text, False


@given(texts, stops, st.lists(st.integers(0, 120), max_size=20))
@example("xab€", ["b€", "ab€y"], [1, 2])
@example("aaab", ["aab"], [1, 2, 3])
def test_the_cuts_do_not_matter(text: str, stop: list[str], cuts: list[int]) -> None:
    shown, stopped = run(chunked(text.encode(), cuts), stop)
    assert ("".join(shown), stopped) == naive(text, stop)
    assert "�" not in "".join(shown)


@given(st.binary(max_size=40), st.lists(st.integers(0, 40), max_size=20))
def test_any_bytes_become_what_decoding_them_at_once_gives(data: bytes, cuts: list[int]) -> None:
    shown, _ = run(chunked(data, cuts), [])
    assert "".join(shown) == data.decode("utf-8", "replace")


@given(texts, stops, st.lists(st.integers(0, 120), max_size=20))
def test_what_was_shown_is_never_half_a_character_nor_half_a_stop_string(
    text: str, stop: list[str], cuts: list[int]
) -> None:
    """At every moment: no prefix of a stop string ends what was shown, unless the next text has decided against it."""
    detokenizer, shown, taken = Detokenizer(stop), "", b""
    for piece in chunked(text.encode(), cuts):
        taken += piece
        shown += "".join(said.text for said in detokenizer.push(piece))
        whole = taken.decode("utf-8", "ignore")
        assert naive(whole, stop)[0].startswith(shown)
        if detokenizer.stopped:
            break
        held = max((n for word in stop for n in range(len(word)) if whole.endswith(word[:n])), default=0)
        assert shown == whole[: len(whole) - held], "and nothing is held back for longer than needed"


def test_text_is_shown_as_soon_as_it_cannot_be_a_stop_string() -> None:
    detokenizer = Detokenizer(["</s>"])
    assert text(detokenizer.push(b"Hello <")) == "Hello "
    assert text(detokenizer.push(b"/")) == ""
    assert text(detokenizer.push(b"b> ")) == "</b> "
    assert text(detokenizer.push("€".encode()[:2])) == ""
    assert text(detokenizer.push("€".encode()[2:])) == "€"


def test_half_a_stop_string_at_the_end_is_shown() -> None:
    detokenizer = Detokenizer(["END"])
    assert text(detokenizer.push(b"the EN")) == "the "
    assert text(detokenizer.finish()) == "EN"
    assert not detokenizer.stopped


def test_nothing_is_shown_after_a_stop_string() -> None:
    detokenizer = Detokenizer(["\n\n"])
    assert text(detokenizer.push(b"one\n")) == "one"
    assert text(detokenizer.push(b"\ntwo")) == ""
    assert detokenizer.stopped
    assert text(detokenizer.push(b"three")) == ""
    assert text(detokenizer.finish()) == ""


def test_empty_stop_strings_are_ignored() -> None:
    detokenizer = Detokenizer(["", "x"])
    assert text(detokenizer.push(b"abc")) == "abc"
    assert not detokenizer.stopped
