"""Searching a conversation, through a real Textual app."""

from __future__ import annotations

from tests.tui.transcript.test_transcript import LONG, screen, shows, staged, until
from tui.transcript.transcript import Transcript


def lit(transcript: Transcript) -> list[str]:
    """What is marked as found on the screen, the chosen match in brackets."""
    theme = transcript._theme
    kinds = {theme.match.bgcolor: "{}", theme.match_chosen.bgcolor: "[{}]"}
    found = []
    for y in range(transcript.size.height):
        for text, style, _ in transcript.render_line(y):
            if style and style.bgcolor in kinds:
                found.append(kinds[style.bgcolor].format(text))
    return found


async def test_off_screen_text_is_found_and_the_reader_returns() -> None:
    async with staged() as (_, transcript, _pilot):
        transcript.add("assistant", LONG)
        transcript.add("user", "what about paragraph 7?")
        await until(shows(transcript, "what about"))
        before = screen(transcript)
        told: list[tuple[int, int]] = []
        transcript.open_search(lambda *found: told.append(found))
        transcript.search("paragraph 7")
        assert transcript.found == (2, 2)
        assert lit(transcript) == ["[paragraph 7]"]
        transcript.search("paragraph 3")
        assert transcript.found == (11, 11)
        assert "paragraph 39" in "\n".join(screen(transcript))
        transcript.close_search()
        assert screen(transcript) == before
        assert transcript.following
        assert not lit(transcript)


async def test_a_jump_stays_where_it_went() -> None:
    async with staged() as (_, transcript, pilot):
        transcript.add("assistant", LONG)
        await until(shows(transcript, "paragraph 59"))
        transcript.open_search(lambda at, count: None)
        transcript.search("paragraph 1")
        transcript.focus()
        await pilot.press("n")
        assert transcript.found == (1, 11)
        await pilot.press("n", "n", "N")
        assert transcript.found == (2, 11)
        assert "[paragraph 1]" in lit(transcript)
        transcript.close_search()
        await pilot.pause()
        assert "paragraph 10" in "\n".join(screen(transcript))
        assert not transcript.following


async def test_what_streams_in_is_found_too_and_moves_nothing() -> None:
    async with staged((60, 12)) as (_, transcript, _pilot):
        key = transcript.add("assistant")
        transcript.append(key, LONG)
        await until(shows(transcript, "paragraph 59"))
        told: list[tuple[int, int]] = []
        transcript.open_search(lambda *found: told.append(found))
        transcript.search("paragraph 59")
        before = screen(transcript)[:-2]
        assert transcript.found == (1, 1)
        for number in range(5):
            transcript.append(key, f"\n\nagain paragraph 59{number}")
        await until(lambda: transcript.found == (1, 6))
        assert told[-1] == (1, 6)
        assert screen(transcript)[:-2] == before
        assert not transcript.following
        transcript.close_search()
        await until(shows(transcript, "again paragraph 594"))
        assert transcript.following


async def test_without_a_search_n_is_no_key_of_the_transcript() -> None:
    async with staged() as (_, transcript, pilot):
        transcript.add("assistant", "n")
        await until(shows(transcript, "n"))
        await pilot.press("n", "N")
        assert not lit(transcript)
        transcript.open_search(lambda at, count: None)
        transcript.search("nothing like it")
        assert transcript.found == (0, 0)
        await pilot.press("n")
        assert transcript.found == (0, 0)


async def test_another_width_is_searched_again() -> None:
    async with staged((60, 12)) as (_, transcript, pilot):
        transcript.add("assistant", "some words that will be wrapped " * 3)
        await until(shows(transcript, "wrapped"))
        transcript.open_search(lambda at, count: None)
        transcript.search("words that")
        await pilot.resize_terminal(24, 12)
        await until(lambda: transcript.size.width == 24)
        assert "".join(part.strip("[]") for part in lit(transcript)).replace(" ", "") == "wordsthat" * 3
