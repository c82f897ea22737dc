"""Long blocks stay cheap: the work for a text is counted, not timed, and grows with its length only."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.bench.markdown import CONSTRUCTS, WORDS
from tests.tui.transcript.markdown_text import PLAIN
from tui.markdown import document, flow, growing, highlight, reader, render
from tui.markdown.document import Document
from tui.markdown.highlight import BUDGET
from tui.markdown.text_strip import TextStrip

_STEP = 150


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts the characters that are placed, parsed and wrapped, and the lines that are drawn, in its one element."""
    counted = [0]
    place, text_runs, spans, cuts, to_strip = (
        reader.Reader.place,
        render.text_runs,
        flow._spans,
        flow._cuts,
        document.to_strip,
    )

    def count_place(self: reader.Reader, line: str) -> reader.Step:
        counted[0] += len(line)
        return place(self, line)

    def count_text(text: str, *rest: object) -> object:
        counted[0] += len(text)
        return text_runs(text, *rest)  # type: ignore[arg-type]

    def count_spans(text: str, width: int) -> list[tuple[int, int]]:
        counted[0] += len(text)
        return spans(text, width)

    def count_cuts(text: str, start: int, end: int, width: int) -> list[tuple[int, int]]:
        counted[0] += end - start
        return cuts(text, start, end, width)

    def count_strip(*arguments: object) -> TextStrip:
        counted[0] += 10
        return to_strip(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(reader.Reader, "place", count_place)
    monkeypatch.setattr(render, "text_runs", count_text)
    monkeypatch.setattr(growing, "text_runs", count_text)
    monkeypatch.setattr(flow, "_spans", count_spans)
    monkeypatch.setattr(flow, "_cuts", count_cuts)
    monkeypatch.setattr(document, "to_strip", count_strip)
    return counted


def spent(work: list[int], text: str) -> int:
    work[0] = 0
    document = Document()
    for at in range(0, len(text), _STEP):
        document.append(text[at : at + _STEP])
        document.draw(90, PLAIN)
    document.finish()
    document.draw(90, PLAIN)
    return work[0]


@pytest.mark.parametrize("name", CONSTRUCTS)
def test_work_grows_with_the_length_only(work: list[int], name: str) -> None:
    make = CONSTRUCTS[name]
    short, long = spent(work, make(4_000)), spent(work, make(20_000))
    assert short > 4_000
    assert long < 5 * short * 1.5


def test_a_code_block_gets_its_colours_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = CONSTRUCTS["code"](5 * BUDGET)
    document = Document(lines + "\n```\n\nend")
    drawn = []
    styled = highlight._style
    monkeypatch.setattr(highlight, "_style", lambda kind, palette: drawn.append(kind) or styled(kind, palette))
    frames = 0
    while not frames or document.unfinished:
        before = len(drawn)
        first = document.draw(90, PLAIN)
        frames += 1
        assert len(drawn) - before < BUDGET
        assert first < document.height
    assert frames >= 5
    assert document.draw(90, PLAIN) == document.height
    assert PLAIN.comment in {segment.style for row in range(document.height) for segment in document[row]}


def test_a_late_link_definition_draws_only_what_names_it_again() -> None:
    document = Document("First [a].\n\n" + (WORDS + "\n\n") * 20 + "Last [b].\n\nmore\n\n")
    document.draw(90, PLAIN)
    kept = [document[row] for row in range(document.height)]
    document.append("[b]: https://x.org\n\nend\n\n")
    document.draw(90, PLAIN)
    changed = [row for row, strip in enumerate(kept) if document[row] is not strip]
    assert [document[row].text.strip() for row in changed] == ["Last b."]


def test_a_row_of_very_many_cells_is_text(work: list[int]) -> None:
    row = "|a" * 5_000
    assert spent(work, f"{row}|\n{'|-' * 5_000}|\n{row}|\n") < 100 * 3 * len(row)
    assert spent(work, f"| a | b |\n|---|---|\n{row}|\n") < 30 * len(row)


def strips_of(document: Document) -> list[TextStrip]:
    return [document[row] for row in range(document.height)]


@settings(max_examples=20, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(CONSTRUCTS)), st.sampled_from([300, 1_500, 3_000])), min_size=1, max_size=3
    ),
    st.sampled_from(["\n", "\n\n", "\n```\n\n", " end\n\n[page 1]: http://z.org\n\n"]),
    st.sampled_from([20, 90]),
    st.randoms(use_true_random=False),
)
def test_long_blocks_in_pieces_end_as_the_whole(
    parts: list[tuple[str, int]], end: str, width: int, rng: Random
) -> None:
    text = "".join(CONSTRUCTS[name](size) + end for name, size in parts)
    document, at = Document(), 0
    before: list[TextStrip] = []
    while at < len(text) or document.unfinished or not document.finished:
        size = rng.choice([1, 7, 60, 400])
        if at < len(text):
            document.append(text[at : at + size])
            at += size
        elif not document.finished:
            document.finish()
        first = document.draw(width, PLAIN)
        now = strips_of(document)
        assert now[:first] == before[:first]
        before = now
    whole = Document(text)
    whole.finish()
    whole.draw(width, PLAIN)
    while whole.unfinished:
        whole.draw(width, PLAIN)
    assert before == strips_of(whole)
