"""Textual's driver, with a keyboard on which a lone Esc counts at once."""

from __future__ import annotations

import codecs
import contextlib
import os
import select

from textual import constants
from textual._parser import ParseError
from textual._xterm_parser import XTermParser
from textual.drivers.linux_driver import LinuxDriver

from tui.bracketed_paste import PasteGuard

ESC = "\x1b"
LOOK_UP = 0.1
"""Seconds after which the reading thread looks whether the app has ended."""


class KeyboardDriver(LinuxDriver):
    """Reads keys as its base does, but for Esc on a terminal that does not speak kitty's keyboard protocol.

    There, an Esc is only told from the start of a longer sequence by nothing coming behind it for `ESCDELAY`. Textual
    looks at that clock every 100 ms, so that Esc takes 100 to 125 ms; this looks when the time is up.
    """

    def run_input_thread(self) -> None:
        """Textual's hook: read and dispatch what is typed until the app ends. Runs in a thread of its own."""
        parser = XTermParser(self._debug)
        pasted = PasteGuard()
        decode = codecs.getincrementaldecoder("utf-8")().decode
        escaping = False  # an Esc waits for what may follow it
        try:
            while not self.exit_event.is_set():
                readable, _, _ = select.select([self.fileno], [], [], constants.ESCAPE_DELAY if escaping else LOOK_UP)
                if readable:
                    data = os.read(self.fileno, 4096)
                    if not data:  # the terminal is gone
                        return
                    if text := pasted.pass_on(decode(data)):  # the parser takes "" for the end of the terminal
                        for message in parser.feed(text):
                            self.process_message(message)
                        escaping = text.endswith(ESC)
                for message in parser.tick():
                    escaping = False
                    self.process_message(message)
        finally:
            with contextlib.suppress(EOFError, ParseError):
                for _ in parser.feed(""):
                    pass
