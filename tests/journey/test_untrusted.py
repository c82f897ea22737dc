"""Whatever a model, a server, a source or the history holds: the app writes no escape sequence but its own.

The assertion is on the bytes that the real command writes to a real terminal.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from backends.events import Citation, Done, Error, Meta, Reasoning, Status, Token
from tests.fakes.scripted import Scripted
from tests.journey.scripted_server import ScriptedServer, serving
from tests.journey.terminal import CTRL_Q, ENTER, ESC, Terminal
from tui.history.history import History

OpenTerminal = Callable[..., Terminal]

OWN = re.compile(
    r"""\x1b (?:
        \[ (?:\d{1,3}(?:;\d{1,3}){0,20})? m                     # colours and attributes
      | \[ (?:\d{1,3};\d{1,3})? H                               # the cursor's place
      | \[ \? (?:7|25|1000|1003|1004|1006|1015|1016|1049|2004|2026|2048|2031|996) [hl]   # modes
      | \[ \? (?:2026|2048) \$p                                 # may I have them?
      | \[ \? 996 n
      | \[ (?:> \d{1,2} | <)? u | \[ \? u                    # the kitty keyboard protocol
      | \] 8;(?:id=\d+)?; (?:(?:https?://|mailto:)[\x21-\x7e]+)? \x1b\\   # links
      | \] 22;(?:default|pointer|text) \x07                      # the mouse pointer's shape
    )""",
    re.VERBOSE,
)
"""What the app has to say to a terminal."""

ATTACKS = (
    "\x1b]0;PWNED\x07", "\x1b[2J", "\x9b2J", "\x1b[31;7777m", "\x1b]52;c;UFdORUQ=\x07", "\x1b]8;;file:///etc/passwd\x1b\\x",
    "\x1bP+q544e\x1b\\", "\x1b[6n", "\x1b[?1049l", "\x1bc", "\x1b_Gf=100;AAAA\x1b\\", "\x90q\x9c", "\x9d0;PWNED\x9c",
    "\r\n", "\r", "\b\b\b", "\x07", "\x0e", "\x7f", "\x00", "\x85", "\u2028", "\u202egpj.exe", "\u2066", "\u200b",
    "\U000e0041\U000e0042", "\ufeff", "\xad", "a\ufe0f\ufe0f", "\u200d", "<\x1b[0m>", "&#27;[2J", "&#x9b;2J",
    "[x](file:///PWNED)", "[x](javascript:PWNED)", "[x](http://a.org/\x1b\\)", "<http://a.org/\u202e>", "`\x1b[2J`",
    "```\x1b]0;PWNED\x07\n\x1b[2J\n```\n", "| \x1b[2J | \x9b |\n|---|---|\n| \x07 | \x1b |\n",
    "[a]: http://a\x1b]8;;\x07 '\x9b'\n",
    "[markup=red]x[/]", "[/]", "[@click=app.quit]x[/]", "$\\x1b$", "\t", "שלום", "你好", "e\u0301",
)  # fmt: skip

HOSTILE = st.lists(
    st.sampled_from((*ATTACKS, "👩\u200d👧", "1\ufe0f\u20e3")) | st.text(st.characters(codec="utf-8"), max_size=12),
    min_size=1,
    max_size=8,
).map("".join)


def foreign(written: str) -> list[str]:
    """What is in `written` that is neither a sequence of the app's own nor text that a terminal only shows."""
    rest = OWN.sub("", written)
    return [
        rest[max(0, at - 30) : at + 40]
        for at, char in enumerate(rest)
        if (unicodedata.category(char) in ("Cc", "Zl", "Zp") and char not in "\r\n")
        or char in "\u200b\u200e\u200f\u061c\u00ad\ufeff"
        or 0x202A <= ord(char) <= 0x202E
        or 0x2060 <= ord(char) <= 0x206F
        or 0xE0000 <= ord(char) < 0xE0100
    ]


def remembered(path: Path, text: str) -> None:
    """A history whose newest conversation holds `text` everywhere."""
    with closing(History(path)) as history:
        conversation = history.create_conversation(text)
        question = history.add_message(conversation, None, "user", text)
        history.add_message(conversation, question, "assistant", text, model=text, backend=text)


def ask(terminal: Terminal, server: ScriptedServer, number: int, text: str, *, fails: bool) -> None:
    """One answer that is `text` in all its fields, and its sources opened."""
    source = Citation(source=text, id=text[:12] or "S1", title=text, locator=text, snippet=text)
    end = Error("E" + text[:8], f"{text} end{number}") if fails else Done(5, 9.0)
    server.backend.script = (
        Status("retrieving", 1, 3, detail=text, passages=(source,)),
        Reasoning(text),
        Meta(model=text),
        Token(text),
        Token(f"\n\n```{text}\n{text}\n"),
        source,
        Token(f"\n\n~~~~~~\n``````\n\nend{number} "),
        end,
    )
    terminal.send(f"q{number}{ENTER}")
    terminal.wait_for(f"end{number}")


def look_and_close(terminal: Terminal) -> None:
    """Wait for what opens over the chat, and until it is closed."""
    terminal.wait_for("Esc closes")
    terminal.send(ESC)
    terminal.wait_for("Ask anything", lambda text: "Esc closes" not in text)


def test_only_the_apps_own_sequences_reach_the_terminal(open_terminal: OpenTerminal, tmp_path: Path) -> None:
    everything = "".join(ATTACKS)
    remembered(tmp_path / "data" / "llmchat" / "history.sqlite", everything)
    with serving(Scripted()) as server:
        config = server.configuration(tmp_path)
        name = "there\\u001b]0;PWNED\\u0007\\u009b2J\\u202e"
        config.write_text(config.read_text() + f'\n[backends."{name}"]\ntype = "native"\nurl = "{server.address}"\n')
        with open_terminal("--config", config, "--continue") as terminal:
            terminal.wait_for("Ask anything")
            terminal.send("\x02")  # Ctrl+B: the backends
            look_and_close(terminal)
            numbers = iter(range(100))

            @settings(
                max_examples=12,
                deadline=None,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(HOSTILE, st.booleans())
            def play(text: str, fails: bool) -> None:
                ask(terminal, server, next(numbers), text, fails=fails)

            for fails in (False, True):
                ask(terminal, server, next(numbers), everything, fails=fails)
                terminal.send("\x0f")  # Ctrl+O: the sources
                look_and_close(terminal)
            play()
            terminal.send(CTRL_Q)
            terminal.ended()
    written = terminal.raw.decode()
    assert foreign(written) == []
    assert "PWNED" in written  # it was shown
