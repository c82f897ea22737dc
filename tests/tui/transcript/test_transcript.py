"""The transcript as a person meets it, driven through a real Textual app."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from time import monotonic

import pytest
from textual.app import App, ComposeResult
from textual.message import Message
from textual.pilot import Pilot

from backends.events import Citation
from tui.transcript.frame_clock import FrameClock
from tui.transcript.message_tail import Ending
from tui.transcript.transcript import Transcript

LONG = "\n\n".join(f"paragraph {number}" for number in range(60))


class Stage(App[None]):
    """Nothing but a transcript; keeps what it posts."""

    CSS = "Transcript { height: 1fr; }"

    def __init__(self) -> None:
        super().__init__()
        self.posted: list[Message] = []

    def compose(self) -> ComposeResult:
        yield Transcript()

    def on_mount(self) -> None:
        self.query_one(Transcript).focus()

    def on_transcript_following(self, message: Transcript.Following) -> None:
        self.posted.append(message)

    def on_transcript_citation_selected(self, message: Transcript.CitationSelected) -> None:
        self.posted.append(message)


@asynccontextmanager
async def staged(size: tuple[int, int] = (60, 20)) -> AsyncIterator[tuple[Stage, Transcript, Pilot[None]]]:
    app = Stage()
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        yield app, app.query_one(Transcript), pilot


def screen(transcript: Transcript) -> list[str]:
    """The lines on the screen."""
    return [transcript.render_line(y).text.rstrip() for y in range(transcript.size.height)]


async def until(condition: Callable[[], object]) -> None:
    """Waits until `condition` holds; fails after a time that only a hang reaches."""
    end = monotonic() + 30
    while not condition():
        assert monotonic() < end, "it never came to be"
        await asyncio.sleep(0.005)


def grown(transcript: Transcript, height: int) -> bool:
    return transcript.virtual_size.height > height


def shows(transcript: Transcript, text: str) -> Callable[[], bool]:
    return lambda: any(text in line for line in screen(transcript))


async def test_messages_are_told_apart() -> None:
    async with staged() as (_, transcript, _pilot):
        transcript.add("notice", "a demo")
        transcript.add("user", "first line\nsecond *line*")
        transcript.add("assistant", "An *answer* with `code`.", title="demo · local")
        transcript.add("error", "Press R to try again.", title="Connection lost")
        await until(shows(transcript, "Press R"))
        assert [line for line in screen(transcript) if line] == [
            "  a demo",
            "▌ first line",
            "▌ second *line*",
            "  demo · local",
            "  An answer with code.",
            "▌ Connection lost",
            "▌ Press R to try again.",
        ]


async def test_streamed_text_is_drawn_in_frames_and_the_last_is_never_lost() -> None:
    async with staged() as (_, transcript, _pilot):
        key = transcript.add("assistant")
        await until(lambda: transcript.frames)
        before = transcript.frames
        start = monotonic()
        for number in range(400):
            transcript.append(key, f"w{number} ")
            if number % 20 == 0:
                await asyncio.sleep(0.01)
        await until(shows(transcript, "w399"))
        assert transcript.frames - before <= (monotonic() - start) * 25 + 2
        transcript.finish(key, "complete")
        await until(lambda: not any("█" in line for line in screen(transcript)))
        assert transcript.text(key).split()[-1] == "w399"


async def test_who_asks_is_told_when_the_text_stands_on_the_screen() -> None:
    async with staged() as (_, transcript, _pilot):
        key = transcript.add("assistant")
        await until(lambda: transcript.frames and not transcript.clock.planned)
        seen: list[bool] = []
        transcript.append(key, "Yes.")
        transcript.when_shown(lambda: seen.append(shows(transcript, "Yes.")()))
        assert not seen
        await until(lambda: seen)
        transcript.append(key, " And more.")
        await until(shows(transcript, "more"))
        assert seen == [True]


async def test_what_came_last_is_drawn_though_the_drawing_is_let_go_before_that() -> None:
    async with staged() as (_, transcript, _pilot):
        key = transcript.add("assistant", title="demo")
        await until(shows(transcript, "demo"))
        transcript.append(key, "All of it.")
        transcript.finish(key, "complete")
        for view in transcript._messages:  # as at the end of the warming up, which may be at any time
            view.drop(range(0))
        await until(shows(transcript, "All of it."))


async def test_the_first_words_of_an_answer_wait_for_no_frame() -> None:
    async with staged() as (_, transcript, pilot):
        await until(lambda: not transcript.clock.planned)
        transcript.clock = FrameClock(transcript, transcript._draw, fps=0.01)
        key = transcript.add("assistant")
        await until(lambda: transcript.frames and not transcript.clock.planned)
        transcript.set_waiting(key, "waiting for the backend")
        assert transcript.clock.planned
        transcript.append(key, "## ")
        await until(lambda: not transcript.clock.planned)
        transcript.append(key, "Section ")
        await until(shows(transcript, "Section"))
        transcript.append(key, "two")
        await pilot.pause(0.1)
        assert transcript.clock.planned
        assert not shows(transcript, "two")()


async def test_nothing_is_drawn_when_nothing_changed() -> None:
    async with staged() as (_, transcript, pilot):
        key = transcript.add("assistant", "done")
        await until(shows(transcript, "done"))
        frames = transcript.frames
        transcript.set_note(key, None)
        transcript.set_waiting(key, None)
        await pilot.pause(0.2)
        assert transcript.frames == frames


async def test_a_cursor_stands_at_the_end_while_text_streams() -> None:
    async with staged() as (_, transcript, _pilot):
        key = transcript.add("assistant")
        transcript.append(key, "growing")
        await until(shows(transcript, "growing█"))
        transcript.finish(key, "complete")
        await until(lambda: "  growing" in screen(transcript))


async def test_waiting_shows_the_step_and_moves_until_the_answer_begins() -> None:
    async with staged() as (_, transcript, _pilot):
        key = transcript.add("assistant")
        transcript.set_waiting(key, "Step 2 of 3: reranking")
        await until(shows(transcript, "Step 2 of 3: reranking"))
        seen = set()

        def moved() -> bool:
            seen.add(next((line for line in screen(transcript) if "reranking" in line), ""))
            return len(seen) > 2

        await until(moved)
        transcript.set_waiting(key, None)
        await until(lambda: not shows(transcript, "reranking")())


async def test_nothing_moves_when_the_answer_takes_the_skeletons_place() -> None:
    async with staged() as (_, transcript, _pilot):
        transcript.add("assistant", LONG)
        key = transcript.add("assistant")
        transcript.set_waiting(key, "queued")
        await until(shows(transcript, "queued"))
        row = next(y for y, line in enumerate(screen(transcript)) if "paragraph 59" in line)
        transcript.set_waiting(key, None)
        transcript.append(key, "Now")
        await until(shows(transcript, "Now█"))
        assert "paragraph 59" in screen(transcript)[row]


async def test_waiting_does_not_slow_the_text_down() -> None:
    async with staged() as (_, transcript, _pilot):
        key = transcript.add("assistant")
        transcript.set_waiting(key, "prefilling")
        transcript.append(key, "first")
        await until(shows(transcript, "first"))


@pytest.mark.parametrize(
    ("ending", "mark"),
    [("truncated", "cut off"), ("cancelled", "cancelled"), ("interrupted", "interrupted"), ("failed", "failed")],
)
async def test_endings_are_told_apart(ending: Ending, mark: str) -> None:
    async with staged() as (_, transcript, _pilot):
        key = transcript.add("assistant")
        transcript.append(key, "half an ans")
        transcript.finish(key, ending)
        await until(shows(transcript, mark))
        assert shows(transcript, "half an ans")()


async def test_a_truncated_answer_goes_on_where_it_stopped() -> None:
    async with staged() as (_, transcript, _pilot):
        key = transcript.add("assistant")
        transcript.append(key, "**half")
        transcript.finish(key, "truncated")
        await until(shows(transcript, "cut off"))
        transcript.append(key, " done** and more")
        await until(shows(transcript, "half done and more█"))
        assert not shows(transcript, "cut off")()
        transcript.finish(key, "complete")
        assert transcript.text(key) == "**half done** and more"


async def test_reasoning_folds_when_the_answer_begins_and_unfolds_on_click() -> None:
    async with staged() as (_, transcript, pilot):
        key = transcript.add("assistant")
        transcript.append_reasoning(key, "Let me think about it")
        await until(shows(transcript, "Let me think"))
        transcript.append(key, "The answer.")
        await until(shows(transcript, "The answer."))
        assert not shows(transcript, "Let me think")()
        row = next(y for y, line in enumerate(screen(transcript)) if "Thought" in line)
        await pilot.click(Transcript, offset=(4, row))
        await until(shows(transcript, "Let me think"))


async def test_it_follows_the_end_until_the_reader_scrolls_up_then_stays_put() -> None:
    async with staged() as (app, transcript, pilot):
        key = transcript.add("assistant")
        transcript.append(key, LONG)
        await until(shows(transcript, "paragraph 59"))
        await pilot.press("pageup")
        assert not transcript.following
        view = screen(transcript)[:-1]
        for number in range(30):
            transcript.append(key, f"\n\nmore {number}")
            await asyncio.sleep(0.002)
        await until(lambda: "more" in transcript.text(key) and shows(transcript, "new lines · Ctrl+End")())
        await until(lambda: "60 new lines" in screen(transcript)[-1])
        assert screen(transcript)[:-1] == view
        await pilot.press("end")
        await until(shows(transcript, "more 29"))
        assert transcript.following
        assert [m.following for m in app.posted if isinstance(m, Transcript.Following)] == [False, True]


async def test_scrolling_to_the_bottom_follows_again() -> None:
    async with staged() as (_, transcript, pilot):
        transcript.add("assistant", LONG)
        await until(shows(transcript, "paragraph 59"))
        await pilot.press("up", "up")
        assert not transcript.following
        await pilot.press("down", "down")
        assert transcript.following


async def test_the_place_stays_when_what_is_above_it_changes() -> None:
    async with staged() as (_, transcript, pilot):
        first = transcript.add("assistant", "first")
        transcript.add("assistant", LONG)
        await until(shows(transcript, "paragraph 59"))
        await pilot.press("pageup")
        view = screen(transcript)[:-1]
        transcript.replace(first, "first\n\nnow\n\nmuch\n\nlonger")
        await until(lambda: transcript.virtual_size.height > 125)
        assert screen(transcript)[:-1] == view


async def test_the_place_stays_in_the_lines_under_an_answer() -> None:
    async with staged() as (_, transcript, pilot):
        first = transcript.add("assistant", "text")
        transcript.set_citations(
            first, [Citation(f"{number}.md", f"S{number}", "a long title " * 3) for number in range(9)]
        )
        transcript.set_note(first, "a note")
        key = transcript.add("assistant")
        transcript.append(key, LONG)
        await until(shows(transcript, "paragraph 59"))
        await pilot.press("home", "down", "down", "down", "down")
        view = screen(transcript)[:-1]
        assert "[S2]" in view[0]
        for number in range(5):
            transcript.append(key, f"\n\nmore {number}")
            height = transcript.virtual_size.height
            await until(partial(grown, transcript, height))
        assert screen(transcript)[:-1] == view


async def test_it_follows_again_when_nothing_is_left_to_scroll() -> None:
    async with staged() as (_, transcript, pilot):
        key = transcript.add("assistant", LONG)
        await until(shows(transcript, "paragraph 59"))
        await pilot.press("pageup")
        transcript.replace(key, "short")
        await until(shows(transcript, "short"))
        assert transcript.following
        assert not shows(transcript, "End")()


async def test_resizing_wraps_again_and_keeps_the_place() -> None:
    async with staged((80, 20)) as (_, transcript, pilot):
        words = " ".join(["word"] * 60)
        transcript.add("assistant", "\n\n".join(f"marker{number} {words}" for number in range(30)))
        await until(shows(transcript, "word"))
        await pilot.press("pageup", "pageup")
        top = next(line.split()[0] for line in screen(transcript) if "marker" in line)
        await pilot.resize_terminal(40, 20)
        await until(lambda: transcript.virtual_size.width < 45)
        assert all(len(line) <= 40 for line in screen(transcript))
        assert shows(transcript, top)()


@pytest.mark.parametrize("finished", [False, True])
async def test_resizing_keeps_the_place_in_a_long_answer_that_was_streamed(finished: bool) -> None:
    async with staged((60, 20)) as (_, transcript, pilot):
        key = transcript.add("assistant")
        for number in range(150):
            transcript.append(key, f"\n\nmarker{number} {'word ' * 20}")
        await until(shows(transcript, "marker149"))
        transcript.scroll_to(y=121, animate=False)
        await pilot.pause()
        if finished:
            transcript.finish(key, "complete")
        top = next(line.split()[0] for line in screen(transcript) if "marker" in line)
        for width in (100, 40):
            await pilot.resize_terminal(width, 20)
            await until(lambda width=width: abs(transcript.virtual_size.width - width) < 5)  # type: ignore[misc]
            await until(shows(transcript, top))
            lines = [len(line) for line in screen(transcript) if "word" in line]
            assert width - 9 < max(lines) <= width


async def test_following_goes_on_through_a_resize() -> None:
    async with staged((80, 20)) as (_, transcript, pilot):
        transcript.add("assistant", LONG)
        await until(shows(transcript, "paragraph 59"))
        await pilot.resize_terminal(40, 12)
        await until(lambda: transcript.size.height == 12)
        await until(shows(transcript, "paragraph 59"))
        assert transcript.following


async def test_citations_open_from_the_text_the_line_and_the_keyboard() -> None:
    async with staged() as (app, transcript, pilot):
        key = transcript.add("assistant", "Yes [S1], and [S2, S9].")
        one, two = Citation("a.md", "S1", "Billing FAQ"), Citation("b.md", "S2")
        transcript.set_citations(key, [one, two])
        await until(shows(transcript, "[S1] Billing FAQ"))
        lines = screen(transcript)
        text_row = next(y for y, line in enumerate(lines) if "Yes" in line)
        chip_row = next(y for y, line in enumerate(lines) if "Sources" in line)
        await pilot.click(Transcript, offset=(lines[text_row].index("S1"), text_row))
        await pilot.click(Transcript, offset=(lines[text_row].index("S9"), text_row))
        await pilot.click(Transcript, offset=(lines[chip_row].index("b.md"), chip_row))
        await pilot.press("enter", "right", "right", "enter")
        await until(lambda: len(app.posted) >= 4)
        assert [m.citation for m in app.posted if isinstance(m, Transcript.CitationSelected)] == [one, two, one, two]


async def test_y_copies_the_last_answers_source() -> None:
    async with staged() as (app, transcript, pilot):
        transcript.add("assistant", "**old**")
        transcript.add("assistant", "**new** `x`\x1b[2J")
        transcript.add("user", "thanks")
        await pilot.press("y")
        await until(lambda: app.clipboard)
        assert app.clipboard == "**new** `x`␛[2J"


async def test_messages_can_be_replaced_and_taken_away() -> None:
    async with staged() as (_, transcript, _pilot):
        first = transcript.add("user", "one")
        second = transcript.add("assistant", "two")
        transcript.add("notice", "three", key="mine")
        transcript.remove_message(first)
        transcript.replace(second, "zwei")
        await until(lambda: screen(transcript)[:3] == ["  zwei", "", "  three"])
        assert transcript.text("mine") == "three"
        with pytest.raises(ValueError, match="mine"):
            transcript.add("user", "again", key="mine")
        transcript.clear()
        await until(lambda: not any(screen(transcript)))


async def test_text_added_before_the_first_layout_is_there() -> None:
    class Early(Stage):
        def on_mount(self) -> None:
            self.query_one(Transcript).add("user", "early bird")

    app = Early()
    async with app.run_test(size=(40, 10)):
        transcript = app.query_one(Transcript)
        await until(shows(transcript, "early bird"))


async def test_another_theme_draws_everything_in_its_colours() -> None:
    async with staged() as (app, transcript, _pilot):
        transcript.add("assistant", "# Title")
        await until(shows(transcript, "Title"))

        def background() -> object:
            return next(segment.style for segment in transcript.render_line(0) if segment.style).bgcolor

        dark = background()
        app.theme = "textual-light"
        await until(lambda: background() != dark)


async def test_no_escape_reaches_the_screen_from_any_text() -> None:
    async with staged((70, 40)) as (_, transcript, _pilot):
        evil = "x\x1b[31m\x9b2J\x07\u202ey"
        transcript.add("user", evil)
        transcript.add("notice", evil)
        transcript.add("error", evil, title=evil)
        key = transcript.add("assistant", title=evil)
        transcript.append_reasoning(key, evil)
        transcript.set_waiting(key, evil)
        transcript.append(key, f"{evil}\n\n```{evil}\n{evil}\n```\n\n| {evil} |\n|---|\n\n[a](http://x.org/{evil})")
        transcript.set_citations(key, [Citation(evil, "S1", evil, evil, evil)])
        transcript.set_note(key, evil)
        await until(shows(transcript, "Sources"))
        for line in screen(transcript):
            assert not any(ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 or char == "\u202e" for char in line)
        for y in range(transcript.size.height):
            for segment in transcript.render_line(y):
                link = segment.style.link if segment.style else None
                assert link is None or link.isprintable()


async def test_a_very_narrow_screen_still_shows_text() -> None:
    async with staged((12, 10)) as (_, transcript, _pilot):
        transcript.add("assistant", "- one\n  - two\n    - three\n\n| a | b |\n|---|---|\n| 1 | 2 |")
        await until(shows(transcript, "2"))
        assert all(len(line) <= 12 for line in screen(transcript))
