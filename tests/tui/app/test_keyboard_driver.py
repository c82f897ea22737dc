"""Keys as they come from a terminal without kitty's keyboard protocol, through a pipe."""

from __future__ import annotations

import os
import queue
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from textual.app import App
from textual.message import Message

from tui import keyboard_driver
from tui.keyboard_driver import KeyboardDriver

PATIENCE = 30


class Keyboard:
    """The end of a pipe that somebody types into, and what the driver made of it."""

    def __init__(self) -> None:
        self.source, self._typed = os.pipe()
        self._seen: queue.Queue[Message] = queue.Queue()
        driver = KeyboardDriver(App())
        driver.fileno = self.source
        driver.process_message = self._seen.put
        self.reading = threading.Thread(target=driver.run_input_thread)
        self.reading.start()

    def type(self, data: bytes) -> None:
        os.write(self._typed, data)

    def key(self) -> str:
        return self._seen.get(timeout=PATIENCE).key

    def pasted(self) -> str:
        return self._seen.get(timeout=PATIENCE).text

    def close(self) -> None:
        with suppress(OSError):
            os.close(self._typed)
        self.reading.join(PATIENCE)


@pytest.fixture
async def keyboard(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Keyboard]:
    """Its thread looks up every two minutes only. (async: a driver is made in a running loop.)"""
    monkeypatch.setattr(keyboard_driver, "LOOK_UP", 120.0)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTSTP, signal.SIGCONT)}
    keyboard = Keyboard()
    yield keyboard
    keyboard.close()
    os.close(keyboard.source)
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_a_lone_escape_comes_when_its_delay_is_over(keyboard: Keyboard) -> None:
    keyboard.type(b"\x1b")
    assert keyboard.key() == "escape"


def test_an_escape_behind_other_keys(keyboard: Keyboard) -> None:
    keyboard.type(b"a\x1b")
    assert [keyboard.key(), keyboard.key()] == ["a", "escape"]


def test_a_sequence_after_an_escape_is_one_key(keyboard: Keyboard) -> None:
    keyboard.type(b"\x1b")
    assert keyboard.key() == "escape"
    keyboard.type(b"\x1b[A" + "é".encode())
    assert [keyboard.key(), keyboard.key()] == ["up", "é"]


def test_a_character_may_come_in_two_reads(keyboard: Keyboard) -> None:
    first, second = "é".encode()[:1], "é".encode()[1:]
    keyboard.type(b"x" + first)
    assert keyboard.key() == "x"
    keyboard.type(second)
    assert keyboard.key() == "é"


def test_a_paste_presses_no_keys(keyboard: Keyboard) -> None:
    keyboard.type(b"\x1b[200~\x1b]52;c;aGk=\x07\x1b")  # a lone escape, held back, is not the end of the terminal
    keyboard.type(b"[A\x1b[201~x")
    assert keyboard.pasted() == "^[]52;c;aGk=\x07^[[A"
    assert keyboard.key() == "x"


def test_the_end_of_the_terminal_ends_the_thread(keyboard: Keyboard) -> None:
    keyboard.close()
    assert not keyboard.reading.is_alive()
