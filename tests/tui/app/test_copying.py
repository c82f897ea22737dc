"""Copying in the whole app: the keys, and what the status line says."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from backends.events import Token
from tests.fakes.scripted import Hold, answer
from tests.tui.app.conftest import Chat
from tests.tui.app.test_chat import SIZE


async def test_what_really_happened_is_said(chat: Chat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chat.plays(*answer("**Yes.** See\n\n```sh\nls\n```"))
    async with chat.app.run_test(size=SIZE) as pilot:
        await pilot.press("f6")
        assert "there is no code to copy yet" in chat.status
        await chat.ask(pilot, "Can I pause?")
        await chat.ended(pilot)
        await pilot.press("f6")
        await chat.until(pilot, lambda: "sent 2 characters to the terminal (OSC 52)" in chat.status)
        program = tmp_path / "xclip"
        program.write_text(f"#!{sys.executable} -SE\nimport sys\nsys.stdin.read()\n", "utf-8")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setenv("DISPLAY", "localhost:10.0")
        await pilot.press("f7")
        await chat.until(pilot, lambda: "copied 26 characters with xclip" in chat.status)
        assert chat.app.clipboard == "**Yes.** See\n\n```sh\nls\n```"


async def test_ctrl_c_copies_a_selection_first_and_then_cancels(chat: Chat) -> None:
    hold = Hold()
    chat.plays(Token("some words"), hold)
    async with chat.app.run_test(size=SIZE) as pilot:
        await chat.ask(pilot, "Can I pause?")
        await chat.until(pilot, lambda: "some words" in chat.screen_text)
        y = next(y for y, line in enumerate(chat.screen_text.split("\n")) if "some words" in line)
        top = chat.transcript.region.y
        await pilot.click("#transcript", offset=(8, y - top), times=2)
        assert chat.transcript.selected_text == "words"
        chat.composer.focus()  # wherever the focus is
        await pilot.press("ctrl+c")
        assert chat.app.clipboard == "words"
        assert chat.app.chat.worker.turn is not None
        await pilot.press("ctrl+c")
        await chat.ended(pilot)


async def test_y_copies_only_where_the_transcript_has_the_focus(chat: Chat) -> None:
    chat.plays(*answer("**Yes.**"))
    async with chat.app.run_test(size=SIZE) as pilot:
        await chat.ask(pilot, "Can I pause?")
        await chat.ended(pilot)
        await pilot.press("y")
        assert chat.composer.text == "y"
        chat.transcript.focus()
        await pilot.pause()
        await pilot.press("y", "n")
        await chat.until(pilot, lambda: chat.composer.text == "yn")
        assert chat.app.clipboard == "**Yes.**"
