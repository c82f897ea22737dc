"""The citation scanner: the same answer, however it is cut into pieces."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from backends.events import Citation
from backends.rag.cite import Scanner

SOURCES = tuple(Citation(f"{name}.md", f"S{i}") for i, name in enumerate(("plans", "refunds", "tax"), 1))


def scan(pieces: list[str], before: str = "") -> tuple[str, list[str]]:
    scanner = Scanner(SOURCES, before)
    text, cited = "", []
    for piece in pieces:
        more, citations = scanner.feed(piece)
        text += more
        cited += [citation.id for citation in citations]
    return text + scanner.flush(), cited


def reference(text: str) -> tuple[str, list[str]]:
    """What comes out, by its definition: on the whole text at once."""
    cited: list[str] = []

    def keep(found: re.Match[str]) -> str:
        known = [each for each in re.findall(r"S\d+", found[0]) if each in ("S1", "S2", "S3")]
        cited.extend(known)
        if len(known) == found[0].count("S"):
            return found[0]
        return f"[{', '.join(known)}]" if known else ""

    return re.sub(r"\[S\d{1,3}(, ?S\d{1,3}){0,7}\]", keep, text), list(dict.fromkeys(cited))


pieces_of_answers = st.lists(
    st.sampled_from(
        ["[S1]", "[S2]", "[S9]", "[S1, S3]", "[S1,S8]", "[", "]", "S", "1", "2", ",", " ", "S1", "[[", "ab", "é"]
    )
    | st.text(max_size=4),
    max_size=30,
).map("".join)


@given(pieces_of_answers, st.data())
@example("[S1, S2, S3, S4, S5, S6, S7, S8, S9]", None)
def test_any_chunking_gives_the_same_text_and_citations(text: str, data: st.DataObject | None) -> None:
    if data is None:
        cuts = list(range(len(text)))
    else:
        cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=20)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert scan(pieces) == reference(text)


@given(pieces_of_answers, st.integers(0, 200))
def test_only_what_may_become_a_marker_is_held_back(text: str, cut: int) -> None:
    scanner = Scanner(SOURCES)
    shown, _ = scanner.feed(text[:cut])
    held = scanner.flush()
    assert reference(text[:cut])[0] == shown + held
    assert re.fullmatch(r"(\[(S[\dS, ]*)?)?", held)


def test_a_citation_comes_with_the_piece_that_completes_its_marker_and_once() -> None:
    scanner = Scanner(SOURCES)
    assert scanner.feed("Yes [S") == ("Yes ", ())
    assert scanner.feed("2") == ("", ())
    assert scanner.feed("] and") == ("[S2] and", (SOURCES[1],))
    assert scanner.feed(" [S2]") == (" [S2]", ())


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a [S9] b", "a  b"),
        ("a [S1, S9] b", "a [S1] b"),
        ("[S1][S4]", "[S1]"),
        ("arr[S] and [s1] and [S1a] and [/S1]", "arr[S] and [s1] and [S1a] and [/S1]"),
        ("open [S1", "open [S1"),
    ],
)
def test_what_points_nowhere_goes_and_the_rest_stays(text: str, shown: str) -> None:
    assert scan(list(text))[0] == shown


def test_a_cut_answer_goes_on_where_it_was() -> None:
    assert scan([" and [S2].", " [S1]"], before="Yes [S1]") == (" and [S2]. [S1]", ["S2"])
    assert scan(["2] so"], before="see [S") == ("2] so", ["S2"])
    assert scan(["9] so"], before="see [S") == ("9] so", [])
    assert scan([" no"], before="see [S") == (" no", [])
    assert scan([], before="see [S") == ("", [])


def test_without_sources_every_marker_points_nowhere() -> None:
    assert Scanner(()).feed("x [S1].") == ("x .", ())
