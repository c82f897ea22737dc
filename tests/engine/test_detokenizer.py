"""Incremental detokenization: however the bytes are cut, the text is the same, whole, and ends at the stop string."""

from __future__ import annotations

import itertools

from hypothesis import example, given
from hypothesis import strategies as st

from backends.engine.detokenizer import Detokenizer

stops = st.lists(st.text("ab€😀", min_size=1, max_size=4), max_size=3)
texts = st.text("ab€😀é", max_size=30)


def chunked(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(edges)]


def run(pieces: list[bytes], stop: list[str]) -> tuple[list[str], bool]:
    """The texts that were shown, and whether a stop string ended it."""
    detokenizer = Detokenizer(stop)
    shown = []
    for piece in pieces:
        shown.append(detokenizer.push(piece))
        if detokenizer.stopped:
            return shown, True
    return [*shown, detokenizer.finish()], False


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


def test_text_is_shown_as_soon_as_it_cannot_be_a_stop_string() -> None:
    detokenizer = Detokenizer(["</s>"])
    assert detokenizer.push(b"Hello <") == "Hello "
    assert detokenizer.push(b"/") == ""
    assert detokenizer.push(b"b> ") == "</b> "
    assert detokenizer.push("€".encode()[:2]) == ""
    assert detokenizer.push("€".encode()[2:]) == "€"


def test_half_a_stop_string_at_the_end_is_shown() -> None:
    detokenizer = Detokenizer(["END"])
    assert detokenizer.push(b"the EN") == "the "
    assert detokenizer.finish() == "EN"
    assert not detokenizer.stopped


def test_nothing_is_shown_after_a_stop_string() -> None:
    detokenizer = Detokenizer(["\n\n"])
    assert detokenizer.push(b"one\n") == "one"
    assert detokenizer.push(b"\ntwo") == ""
    assert detokenizer.stopped
    assert detokenizer.push(b"three") == ""
    assert detokenizer.finish() == ""


def test_empty_stop_strings_are_ignored() -> None:
    detokenizer = Detokenizer(["", "x"])
    assert detokenizer.push(b"abc") == "abc"
    assert not detokenizer.stopped
