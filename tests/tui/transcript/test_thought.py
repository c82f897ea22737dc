"""Thinking text: drawn piece by piece as if it had come at once, at a cost that does not grow with its length."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.style import Style

from tests.tui.transcript.markdown_text import chunked
from tui.markdown import flow
from tui.markdown.text_strip import TextStrip
from tui.transcript import thought_part
from tui.transcript.chat_palette import ChatPalette
from tui.transcript.message_part import Look
from tui.transcript.message_view import MessageView
from tui.transcript.thought_part import END_ROWS, Shown, ThoughtPart

PALETTE = ChatPalette(**dict.fromkeys(ChatPalette.roles(), Style.null()))
LOOK = Look(40, PALETTE)

_texts = st.lists(
    st.sampled_from(
        ["word", " ", "\n", "\t", "\r", "\r\n", "a much longer line than fits in the width", "\x1b[2J", "é\u200d"]
    ),
    max_size=30,
).map("".join)


def rows_of(part: ThoughtPart) -> list[TextStrip]:
    return [part[row] for row in range(part.height)]


@settings(max_examples=60, deadline=None)
@given(
    chunked(_texts), st.lists(st.sampled_from(["nothing", "end", "all"]), min_size=13, max_size=13), st.integers(0, 1)
)
def test_a_thought_in_pieces_is_drawn_as_the_whole(chunks: list[str], shown: list[Shown], below: int) -> None:
    part = ThoughtPart()
    before: list[TextStrip] = []
    for chunk, mode in zip(chunks, shown, strict=False):
        part.append(chunk)
        first = part.update(LOOK, mode, below)
        now = rows_of(part)
        assert now[:first] == before[:first]
        before = now
    for mode in ("nothing", "end", "all"):
        part.update(LOOK, mode, below)
        whole = ThoughtPart()
        whole.append("".join(chunks))
        whole.update(LOOK, mode, below)
        assert rows_of(part) == rows_of(whole)
    assert part.text == whole.text
    assert part.words == whole.words == len(part.text.split())


def test_the_end_of_a_long_thought_is_shown_while_it_goes_on() -> None:
    part = ThoughtPart()
    part.append("\n".join(f"step {number}" for number in range(50)) + "\n\n")
    part.update(LOOK, "end", 0)
    assert [strip.text.strip(" │") for strip in rows_of(part)] == [
        f"step {number}" for number in range(50 - END_ROWS, 50)
    ]


@pytest.mark.parametrize("unfolded", [False, True])
def test_a_frame_costs_the_same_late_in_a_long_thought(monkeypatch: pytest.MonkeyPatch, unfolded: bool) -> None:
    work = [0]
    spans, scrub, strip_of = flow._spans, thought_part.scrub, ThoughtPart._strip_of

    def count_spans(text: str, width: int) -> list[tuple[int, int]]:
        work[0] += len(text)
        return spans(text, width)

    def count_scrub(text: str, before: str = "") -> str:
        work[0] += len(text)
        return scrub(text, before)

    def count_strip(self: ThoughtPart, line: flow.Line, look: Look) -> TextStrip:
        work[0] += 10
        return strip_of(self, line, look)

    monkeypatch.setattr(flow, "_spans", count_spans)
    monkeypatch.setattr(thought_part, "scrub", count_scrub)
    monkeypatch.setattr(ThoughtPart, "_strip_of", count_strip)
    view = MessageView("a", "assistant", streaming=True, reasoning_open=unfolded)
    costs = []
    for number in range(600):
        view.append_reasoning(f"step {number} of a thought that goes on and on \n"[: None if number % 3 else -1])
        work[0] = 0
        view.draw(LOOK)
        costs.append(work[0])
    assert 0 < max(costs[-100:]) <= 1.5 * max(costs[20:120])
    view.append("The answer.")
    view.draw(LOOK)
    assert ("step 599" in "".join(view.line(row).text for row in range(view.height))) is unfolded


def test_a_first_thought_leaves_the_rows_where_they_are_until_it_is_drawn() -> None:
    view = MessageView("answer", "assistant", streaming=True, waiting="connecting")
    view.draw(LOOK)
    before = [view.text_line(row) for row in range(view.height)]
    view.append_reasoning("hm")
    assert [view.text_line(row) for row in range(view.height)] == before
