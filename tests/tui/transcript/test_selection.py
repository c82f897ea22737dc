"""Selecting with the mouse and the keyboard, and what is copied, through a real Textual app."""

from __future__ import annotations

import pytest
from textual import events
from textual.pilot import Pilot

from tests.tui.transcript.test_transcript import LONG, Stage, grown, screen, shows, staged, until
from tui.transcript.transcript import Transcript

BRACKETS = {
    "[": "left_square_bracket",
    "]": "right_square_bracket",
    "{": "left_curly_bracket",
    "}": "right_curly_bracket",
}


def find(transcript: Transcript, text: str) -> tuple[int, int]:
    """The cell on the screen where `text` begins."""
    return next((line.index(text), y) for y, line in enumerate(screen(transcript)) if text in line)


async def drag(pilot: Pilot[None], start: tuple[int, int], end: tuple[int, int], *, release: bool = True) -> None:
    await pilot.mouse_down(Transcript, offset=start)
    await move(pilot, start, end)
    if release:
        await pilot.mouse_up(Transcript, offset=end)
        await pilot.pause()


async def move(pilot: Pilot[None], start: tuple[int, int], end: tuple[int, int]) -> None:
    """The mouse with its button down: Textual's pilot only hovers."""
    transcript = pilot.app.query_one(Transcript)
    x, y = end
    region = transcript.region
    transcript.post_message(
        events.MouseMove(
            transcript, x, y, x - start[0], y - start[1], 1, False, False, False, x + region.x, y + region.y
        )
    )
    await pilot.pause()


def marked(transcript: Transcript) -> list[str]:
    """What stands on the selection's ground, line by line."""
    ground = transcript._theme.selection.bgcolor
    lines = []
    for y in range(transcript.size.height):
        text = "".join(s.text for s in transcript.render_line(y) if s.style and s.style.bgcolor == ground)
        if text:
            lines.append(text)
    return lines


async def test_a_drag_selects_the_visible_text_without_wraps_and_borders() -> None:
    async with staged((30, 24)) as (_, transcript, pilot):
        transcript.add("user", "a question that is long enough to wrap")
        transcript.add("assistant", "An **answer** that wraps as well, yes.\n\n- one\n- two\n\n> quoted", title="demo")
        await until(shows(transcript, "quoted"))
        x, y = find(transcript, "quoted")
        await drag(pilot, find(transcript, "long"), (x + 2, y))
        assert transcript.selected_text == (
            "long enough to wrap\n\ndemo\nAn answer that wraps as well, yes.\n\n• one\n• two\n\nquo"
        )
        assert marked(transcript)[0] == "long"
        assert marked(transcript)[-1] == "quo"
        await drag(pilot, (x + 2, y), find(transcript, "two"))  # upwards
        assert transcript.selected_text == "two\n\nquo"
        await pilot.click(Transcript, offset=(2, y))
        assert not transcript.has_selection


async def test_whole_messages_and_blocks_give_their_source() -> None:
    async with staged((40, 30)) as (_, transcript, pilot):
        transcript.add("assistant", "**bold**\n\n```make\nall:\n\techo\n```\nend *here*")
        transcript.add("user", "thanks a lot")
        await until(shows(transcript, "thanks"))
        await drag(pilot, find(transcript, "bold"), find(transcript, "a lot"))
        assert transcript.selected_text == "**bold**\n\n```make\nall:\n\techo\n```\nend *here*\n\nthanks a"
        x, y = find(transcript, "end")
        await drag(pilot, (0, find(transcript, "make")[1]), (x + 2, y))
        assert transcript.selected_text == "all:\n\techo\n\nend"


async def test_cells_of_a_table_are_copied_whole() -> None:
    async with staged((40, 30)) as (_, transcript, pilot):
        head = "| a | long words in the head of it | c |\n|---|---|---|\n"
        table = head + "| | words that have to be wrapped | z |\n| 1 | | 3 |"
        transcript.add("assistant", f"before\n\n{table}\n\nafter")
        await until(shows(transcript, "after"))
        x, y = find(transcript, "after")
        await drag(pilot, find(transcript, "a │"), (x + 1, y))
        assert transcript.selected_text == (
            "a\tlong words in the head of it\tc\nwords that have to be wrapped\tz\n1\t\t3\n\naf"
        )


async def test_clicks_take_words_and_lines() -> None:
    async with staged((30, 20)) as (_, transcript, pilot):
        transcript.add("assistant", "see https://x.org/a-b?c, 你好 and so on until the line is over\nnext")
        await until(shows(transcript, "next"))
        await pilot.click(Transcript, offset=find(transcript, "x.org"), times=2)
        assert transcript.selected_text == "https://x.org/a-b"
        await pilot.click(Transcript, offset=find(transcript, "until"), times=3)
        assert transcript.selected_text == "see https://x.org/a-b?c, 你好 and so on until the line is over"


async def test_the_selection_stays_on_its_text_while_more_streams_in() -> None:
    async with staged() as (_, transcript, pilot):
        transcript.add("user", "question")
        key = transcript.add("assistant")
        transcript.append(key, "one two three")
        await until(shows(transcript, "three"))
        x, y = find(transcript, "two")
        await drag(pilot, (x, y), (x + 2, y))
        for number in range(40):
            transcript.append(key, f"\n\nparagraph {number}")
        await until(shows(transcript, "paragraph 39"))
        assert transcript.following
        assert transcript.selected_text == "two"
        transcript.action_scroll_home()
        await until(shows(transcript, "one two"))
        assert marked(transcript) == ["two"]
        transcript.remove_message(key)
        await until(lambda: not transcript.has_selection)


async def test_text_stays_under_a_drag_while_more_streams_in() -> None:
    async with staged((40, 10)) as (_, transcript, pilot):
        key = transcript.add("assistant")
        transcript.append(key, "\n\n".join(f"line {number}" for number in range(20)))
        await until(shows(transcript, "line 19"))
        before = screen(transcript)[:-2]
        x, y = find(transcript, "line 17")
        await drag(pilot, (x, y), (x + 6, y), release=False)
        height = transcript.virtual_size.height
        transcript.append(key, "\n\nmore\n\nand more")
        await until(lambda: grown(transcript, height))
        await pilot.pause()
        assert screen(transcript)[:-2] == before
        assert transcript.selected_text == "line 17"
        assert not transcript.following
        await pilot.mouse_up(Transcript, offset=(x, y))
        await pilot.press("end")
        await until(shows(transcript, "and more"))


@pytest.mark.parametrize("y", [0, -4])  # the window's first row is the farthest that a mouse gets
async def test_a_drag_beyond_the_edge_scrolls(y: int) -> None:
    async with staged((40, 10)) as (_, transcript, pilot):
        transcript.add("assistant", "\n\n".join(f"line {number}" for number in range(60)))
        await until(shows(transcript, "line 59"))
        start = find(transcript, "line 59")
        await drag(pilot, start, (0, y), release=False)
        await until(lambda: transcript.scroll_offset.y == 0)
        await until(lambda: transcript.selected_text.startswith("line 0\n"))
        await pilot.mouse_up(Transcript, offset=(0, 0))
        await pilot.pause()
        top = transcript.scroll_offset.y
        assert transcript.selected_text.endswith("line 58\n\nl")
        assert transcript.scroll_offset.y == top


async def test_blocks_of_code_are_copied_newest_first() -> None:
    async with staged((40, 12)) as (app, transcript, _pilot):
        assert not transcript.copy_next("code")
        transcript.add("assistant", "- x\n  ```py\n  a = 1\n  ```\n\n" + "text\n\n" * 20 + "```\nb\n\tc\n```")
        transcript.add("assistant", "no code")
        key = transcript.add("assistant")
        transcript.append(key, "```sh\nstill open")
        await until(shows(transcript, "still open"))
        copied = []
        for _ in range(4):
            assert transcript.copy_next("code")
            copied.append(app.clipboard)
            assert [line.strip() for line in marked(transcript)] == [line.strip() for line in app.clipboard.split("\n")]
        assert copied == ["still open", "b\n\tc", "a = 1", "still open"]


async def test_messages_are_copied_newest_first() -> None:
    async with staged((40, 12)) as (app, transcript, _pilot):
        transcript.add("user", "*question*")
        transcript.add("assistant", "**answer**")
        transcript.add("notice", "just so")
        await until(shows(transcript, "just so"))
        assert [transcript.copy_next("message") and app.clipboard for _ in range(3)] == [
            "**answer**",
            "*question*",
            "**answer**",
        ]
        transcript.deselect()
        assert not marked(transcript)


async def test_messages_and_code_are_chosen_with_keys() -> None:
    async with staged((40, 12)) as (app, transcript, pilot):
        transcript.add("user", "*first*")
        transcript.add("assistant", "one\n\n```py\na = 1\n```\n\n- x\n  ```\n  b = 2\n  ```\n" + "\nmore\n" * 20)
        transcript.add("user", "*last*")
        await until(shows(transcript, "last"))
        transcript.focus()
        for key, text in (
            ("[", "*last*"),
            ("]", "*last*"),  # there is none after it
            ("{", "b = 2"),
            ("{", "a = 1"),
            ("{", "a = 1"),
            ("}", "b = 2"),
        ):
            await pilot.press(BRACKETS[key])
            assert transcript.selected_text == text, key
            assert marked(transcript), key
        await pilot.press(BRACKETS["["])  # the one that is on the screen
        assert transcript.selected_text.startswith("one\n\n```py")
        await pilot.press(BRACKETS["["], "y")
        assert app.clipboard == "*first*"
        assert not transcript.has_selection


async def test_choosing_begins_with_what_is_on_the_screen() -> None:
    async with staged((40, 12)) as (_app, transcript, pilot):
        for number in range(30):
            transcript.add("user", f"message {number}")
        await until(shows(transcript, "message 29"))
        transcript.action_scroll_home()
        await until(shows(transcript, "message 0"))
        transcript.focus()
        shown = [line for line in screen(transcript) if "message" in line]
        await pilot.press(BRACKETS["["])
        assert transcript.selected_text in shown[-1]
        assert transcript.scroll_offset.y <= 2


async def test_the_code_after_may_be_below_the_screen() -> None:
    fences = [f"```sh\n{word}\n```" for word in ("first", "second", "third")]
    async with staged((60, 12)) as (_app, transcript, pilot):
        transcript.add("assistant", f"\n\n{LONG}\n\n".join(fences))
        await until(shows(transcript, "third"))
        transcript.focus()
        for key, row, text in (("}", 20, "second"), ("{", 20, "first"), ("}", transcript.max_scroll_y, "third")):
            transcript.deselect()
            transcript.scroll_to(y=row, animate=False)
            await pilot.press(BRACKETS[key])
            assert transcript.selected_text == text


async def test_y_copies_a_selection() -> None:
    async with staged() as (app, transcript, pilot):
        transcript.add("assistant", "some words here")
        await until(shows(transcript, "words"))
        await pilot.click(Transcript, offset=find(transcript, "words"), times=2)
        await pilot.press("y")
        assert app.clipboard == "words"
        assert not transcript.has_selection


async def test_a_drag_opens_no_source() -> None:
    async with staged() as (app, transcript, pilot):
        key = transcript.add("assistant", "Yes [S1] and [S2]")
        transcript.finish(key, "complete")
        await until(shows(transcript, "S2"))
        await drag(pilot, find(transcript, "S1"), find(transcript, "S2"))
        assert transcript.selected_text == "S1] and [S"
        assert not [m for m in app.posted if isinstance(m, Transcript.CitationSelected)]


@pytest.mark.parametrize("size", [(20, 20), (60, 20)])
async def test_wrapping_anew_ends_the_selection(size: tuple[int, int]) -> None:
    async with staged((40, 20)) as (app, transcript, pilot):
        transcript.add("assistant", "some words here " * 5)
        await until(shows(transcript, "words"))
        await pilot.click(Transcript, offset=find(transcript, "words"), times=2)
        assert transcript.selected_text == "words"
        assert isinstance(app, Stage)
        await pilot.resize_terminal(*size)
        await until(lambda: not transcript.has_selection)
