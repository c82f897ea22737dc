"""Long conversations: what nobody looks at is not drawn, and that is not seen. Work is counted, not timed."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.tui.transcript.test_transcript import screen, shows, staged, until
from tui.markdown.document import Document
from tui.transcript.message_stack import KEPT
from tui.transcript.selection import Selection, cell_at
from tui.transcript.transcript import Transcript

MESSAGES = 300
ROWS = 20


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that were parsed and drawn, as they are: each document once for every drawing of it."""
    sources: list[str] = []
    draw = Document.draw

    def counted(self: Document, *look: object) -> int:
        sources.append(self.source)
        return draw(self, *look)  # type: ignore[arg-type]

    monkeypatch.setattr(Document, "draw", counted)
    return sources


def answer(number: int, paragraphs: int = 30) -> str:
    """Lines of very different lengths, so that no estimate is right."""
    lines = (f"answer {number} line {line} " + "word " * (line * 7 % 31) for line in range(paragraphs))
    return "\n\n".join(f"- **{line.strip()}**" if len(line) % 3 else line for line in lines)


def fill(transcript: Transcript, messages: int = MESSAGES) -> None:
    for number in range(messages):
        transcript.add("user", f"question {number}")
        transcript.add("assistant", answer(number))


def text_of(transcript: Transcript) -> list[str]:
    """What is on the screen, without the marker."""
    return screen(transcript)[: -1 if not transcript.following else None]


async def settled(transcript: Transcript) -> None:
    """Until the pages around the one in view are drawn."""
    top = transcript.scroll_offset.y
    await until(lambda: not transcript._messages.undrawn(top - ROWS, 3 * ROWS) and not transcript._ahead_planned)


async def test_opening_draws_the_end_and_nothing_else(parsed: list[str]) -> None:
    async with staged() as (_, transcript, _pilot):
        fill(transcript)
        await until(shows(transcript, "answer 299 line 29"))
        await settled(transcript)
        assert len(parsed) <= 3
        assert not any("answer 290" in source for source in parsed)
        assert transcript.virtual_size.height > MESSAGES * 60


async def test_pages_fit_together_although_heights_were_estimated() -> None:
    async with staged() as (_, transcript, pilot):
        fill(transcript, 12)
        await until(shows(transcript, "answer 11 line 29"))
        pages = [text_of(transcript)]
        while transcript.scroll_offset.y > 0:
            await pilot.press("pageup")
            pages.append(text_of(transcript))
        for below, above in pairwise(pages[:-1]):
            assert above[-1] == below[0]
        seen = "\n".join("\n".join(page) for page in reversed(pages))
        for number in range(12):
            assert f"question {number}" in seen


async def test_what_is_in_view_does_not_move_when_what_is_around_it_is_drawn() -> None:
    async with staged() as (_, transcript, pilot):
        fill(transcript, 40)
        await until(shows(transcript, "answer 39 line 29"))
        transcript.scroll_to(y=transcript.max_scroll_y // 2, animate=False)
        view = text_of(transcript)
        assert any("line" in line for line in view)
        await settled(transcript)
        assert text_of(transcript) == view
        await pilot.press("home")
        assert "question 0" in screen(transcript)[0]
        await settled(transcript)
        assert "question 0" in screen(transcript)[0]
        await pilot.press("end")
        assert shows(transcript, "answer 39 line 29")()


async def test_dragging_lands_at_the_same_share_of_the_text() -> None:
    async with staged() as (_, transcript, _pilot):
        fill(transcript, 100)
        await until(shows(transcript, "answer 99 line 29"))
        for percent in (80, 20, 50):
            transcript.scroll_to(y=transcript.max_scroll_y * percent // 100, animate=False)
            numbers = [int(line.split("answer ")[1].split()[0]) for line in screen(transcript) if "answer" in line]
            assert numbers, screen(transcript)
            assert abs(numbers[0] - percent) <= 6


async def test_another_width_draws_what_is_in_view_and_keeps_its_first_line(parsed: list[str]) -> None:
    async with staged((60, ROWS)) as (_, transcript, pilot):
        fill(transcript)
        await until(shows(transcript, "answer 299 line 29"))
        for _ in range(7):
            await pilot.press("pageup")
        await settled(transcript)
        kept = next(line for line in screen(transcript) if "answer" in line).strip()[:22]
        parsed.clear()
        await pilot.resize_terminal(45, ROWS)
        await until(lambda: transcript.virtual_size.width < 50)
        await settled(transcript)
        assert any(kept in line for line in screen(transcript)[:4])
        assert len(parsed) <= 5


async def test_a_huge_message_is_drawn_in_sections(parsed: list[str]) -> None:
    async with staged() as (_, transcript, pilot):
        huge = "\n\n".join(answer(number) + f"\n\n## Part {number}" for number in range(400))
        transcript.add("assistant", huge)
        transcript.add("assistant", "the end")
        await until(shows(transcript, "the end"))
        await settled(transcript)
        assert sum(map(len, parsed)) < len(huge) // 20
        for keys in ("pageup", "pageup", "home", "pagedown"):
            await pilot.press(keys)
        assert sum(map(len, parsed)) < len(huge) // 10
        assert transcript.text("message-1") == huge


async def test_strips_far_away_are_let_go() -> None:
    async with staged() as (_, transcript, pilot):
        fill(transcript, 120)
        await until(shows(transcript, "answer 119 line 29"))
        while transcript.scroll_offset.y:
            transcript.action_page_up()
        drawn = sum(part.height for view in transcript._messages for part in view.parts if part.drawn)
        assert drawn < 2.5 * KEPT < transcript.virtual_size.height
        height = transcript.virtual_size.height
        await pilot.press("end")
        assert shows(transcript, "answer 119 line 29")()
        assert transcript.virtual_size.height == height  # what was drawn once is never estimated again


async def test_a_search_draws_what_it_shows(parsed: list[str]) -> None:
    async with staged() as (_, transcript, pilot):
        fill(transcript)
        await until(shows(transcript, "answer 299 line 29"))
        await settled(transcript)
        parsed.clear()
        transcript.open_search(lambda at, count: None)
        transcript.search("answer 77 line 5")
        assert transcript.found == (1, 1)
        assert shows(transcript, "answer 77 line 5")()
        transcript.search("line 17")
        assert transcript.found[1] == MESSAGES
        transcript.focus()
        before = transcript.found[0]
        await pilot.press("n", "n", "N")
        assert transcript.found == (before % MESSAGES + 1, MESSAGES)
        assert shows(transcript, "line 17")()
        await settled(transcript)
        assert len(parsed) < 25
        transcript.close_search()


async def test_what_only_the_source_has_is_no_match() -> None:
    async with staged() as (_, transcript, _pilot):
        transcript.add("assistant", "[a link](http://hidden.example)")
        fill(transcript, 30)
        transcript.add("assistant", "hidden no more")
        await until(shows(transcript, "no more"))
        transcript.open_search(lambda at, count: None)
        transcript.search("hidden")
        assert transcript.found == (2, 2)
        transcript.search_step(1)
        assert transcript.found == (1, 1)
        assert shows(transcript, "hidden no more")()


async def test_selected_text_of_messages_that_were_never_seen_is_their_source(parsed: list[str]) -> None:
    async with staged() as (_, transcript, pilot):
        fill(transcript, 30)
        await until(shows(transcript, "answer 29 line 29"))
        await settled(transcript)
        parsed.clear()
        await pilot.press("home")
        first = cell_at(transcript._messages, 0, 0)
        last = cell_at(transcript._messages, transcript.virtual_size.height - 1, 200)
        assert first is not None
        assert last is not None
        transcript._set_selection(Selection(first, last))
        text = transcript.selected_text
        assert text.startswith("question 0\n")
        for number in range(30):
            assert f"question {number}\n" in text
        for number in range(1, 29):
            assert answer(number).strip() in text
        assert len(parsed) < 6


async def test_code_far_above_is_copied_block_by_block(parsed: list[str]) -> None:
    async with staged() as (app, transcript, pilot):
        for number in range(20):
            transcript.add("assistant", f"text {number}\n\n```py\ncode {number}\n\nmore\n```\n\nand `more`")
            fill(transcript, 3)
        log = "".join(f"{line}\n" for line in range(30_000))
        transcript.add("assistant", f"a log:\n\n```\n{log}```\n\nthe end")
        await until(shows(transcript, "the end"))
        await settled(transcript)
        copied = []
        for _ in range(4):
            assert transcript.copy_next("code")
            copied.append(app.clipboard)
        assert copied == [log.removesuffix("\n"), *(f"code {number}\n\nmore" for number in (19, 18, 17))]
        await pilot.pause()
        assert shows(transcript, "code 17")()
        assert len(parsed) < 15
