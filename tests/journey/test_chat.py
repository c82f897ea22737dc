"""The chat as a person meets it: the real command on a real terminal."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from backends.events import Citation, Done, Error, Status, Token
from tests.fakes.scripted import Hold, Scripted, answer
from tests.journey.scripted_server import serving
from tests.journey.terminal import CTRL_Q, ENTER, ESC, F8, PATIENCE, Terminal
from tui.exit_codes import ExitCode
from tui.history.history import History

OpenTerminal = Callable[..., Terminal]

LEAVE_ALTERNATE_SCREEN = b"\x1b[?1049l"


def quit_with_ctrl_q(terminal: Terminal) -> None:
    """Quit, and see that the terminal is given back and nothing is left on it."""
    terminal.send(CTRL_Q)
    assert terminal.ended() == ExitCode.COMPLETE, terminal.text
    assert LEAVE_ALTERNATE_SCREEN in terminal.raw
    assert b"Traceback" not in terminal.raw


def usable(terminal: Terminal) -> None:
    """Wait until a question can be typed."""
    terminal.wait_for("Ask anything")


def test_ask_cancel_ask_again_quit_continue(open_terminal: OpenTerminal, tmp_path: Path) -> None:
    first = Hold()
    with serving(Scripted(Token("The **annual** plan"), first)) as server:
        config = server.configuration(tmp_path)
        with open_terminal("--config", config) as terminal:
            usable(terminal)
            terminal.send("Can I pause?" + ENTER)
            terminal.wait_for("Can I pause?", "The annual plan")
            assert server.backend.cut == 0
            terminal.send(ESC)
            server.wait_until(lambda: server.backend.cut == 1)
            terminal.wait_for("cancelled", "The annual plan")

            server.backend.script = answer("Yes, ", "once a year.")
            terminal.send("And now?" + ENTER)
            terminal.wait_for("And now?", "Yes, once a year.", "complete")
            quit_with_ctrl_q(terminal)

        with open_terminal("--config", config, "--continue") as terminal:
            terminal.wait_for("Can I pause?", "The annual plan", "And now?", "Yes, once a year.")
            server.backend.script = answer("Third.")
            terminal.send("More?" + ENTER)
            terminal.wait_for("Third.")
            quit_with_ctrl_q(terminal)

    roles = [(message.role, message.content) for message in server.backend.requests[-1].messages]
    assert roles[-3:] == [("user", "And now?"), ("assistant", "Yes, once a year."), ("user", "More?")]


def test_without_continue_a_new_conversation_begins(open_terminal: OpenTerminal, tmp_path: Path) -> None:
    with serving(Scripted(*answer("An answer."))) as server:
        config = server.configuration(tmp_path)
        with open_terminal("--config", config) as terminal:
            usable(terminal)
            terminal.send("A question?" + ENTER)
            terminal.wait_for("An answer.", "complete")
            quit_with_ctrl_q(terminal)
        with open_terminal("--config", config) as terminal:
            usable(terminal)
            assert "A question?" not in terminal.text
            quit_with_ctrl_q(terminal)


def test_a_short_conversation_has_nothing_below(open_terminal: OpenTerminal, tmp_path: Path) -> None:
    with (
        serving(Scripted(*answer("An answer."))) as server,
        open_terminal("--config", server.configuration(tmp_path)) as terminal,
    ):
        usable(terminal)
        terminal.send("A question?" + ENTER)
        terminal.wait_for("An answer.", "complete")
        terminal.send(F8)
        terminal.wait_for("Enter asks it anew", lambda text: "↓ Ctrl+End" not in text)
        quit_with_ctrl_q(terminal)


def test_a_terminal_that_cannot_draw(home: dict[str, str], tmp_path: Path) -> None:
    with Terminal([sys.executable, "-m", "tui"], env=home, cwd=Path.cwd(), term="dumb") as terminal:
        assert terminal.ended() == ExitCode.USAGE
    assert "llmchat ask" in terminal.text
    assert LEAVE_ALTERNATE_SCREEN not in terminal.raw


def test_a_history_of_ones_own(open_terminal: OpenTerminal, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    with serving(Scripted(*answer("An answer."))) as server:
        config = server.configuration(tmp_path / "here")
        config.write_text(config.read_text() + '\n[history]\npath = "mine.sqlite"\n')
        with open_terminal("--config", config) as terminal:
            usable(terminal)
            terminal.send("A question?" + ENTER)
            terminal.wait_for("An answer.", "complete")
            quit_with_ctrl_q(terminal)
    with closing(History(tmp_path / "here" / "mine.sqlite")) as history:
        assert [conversation.title for conversation in history.conversations()] == ["A question?"]


def saved_answer(tmp_path: Path) -> str:
    """What a second process reads of the newest answer right now."""
    with closing(History(tmp_path / "data" / "llmchat" / "history.sqlite")) as history:
        conversation = history.latest_conversation()
        return history.thread(conversation)[-1].content if conversation else ""


def test_kill_9_loses_at_most_the_last_second(open_terminal: OpenTerminal, tmp_path: Path) -> None:
    text = [f"word{number} " for number in range(50)]
    with serving(Scripted(*map(Token, text), Hold())) as server:
        config = server.configuration(tmp_path)
        with open_terminal("--config", config) as terminal:
            usable(terminal)
            terminal.send("Tell me" + ENTER)
            terminal.wait_for("word49")
            until = time.monotonic() + PATIENCE
            while "word49" not in saved_answer(tmp_path):  # half a second, where the machine has time
                assert time.monotonic() < until
                time.sleep(0.05)
            os.kill(terminal.process.pid, signal.SIGKILL)
            assert terminal.ended() == -signal.SIGKILL
        assert saved_answer(tmp_path) == "".join(text)
        with open_terminal("--config", config, "--continue") as terminal:
            terminal.wait_for("Tell me", "word0", "word49", "interrupted")
            quit_with_ctrl_q(terminal)


def test_citations_can_be_read(open_terminal: OpenTerminal, tmp_path: Path) -> None:
    snippet = "You may pause an annual subscription once in twelve months."
    faq = Citation(source="faq.md", id="S1", title="Billing FAQ", locator="Pausing", snippet=snippet)
    script = (Status("retrieving", 1, 3, passages=(faq,)), Token("Once a year [S1]."), faq, Done(5, 9.0))
    with (
        serving(Scripted(*script)) as server,
        open_terminal("--config", server.configuration(tmp_path)) as terminal,
    ):
        usable(terminal)
        terminal.send("Can I pause?" + ENTER)
        terminal.wait_for("Once a year", "Sources", "Billing FAQ", "complete")
        terminal.send("\x0f")  # Ctrl+O
        terminal.wait_for("You may pause an annual", "Pausing")
        terminal.send(ESC)
        terminal.wait_for("Ask anything", lambda text: "You may pause an annual" not in text)
        quit_with_ctrl_q(terminal)


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (40, 10), (200, 60)])
def test_terminals_of_any_size(open_terminal: OpenTerminal, tmp_path: Path, columns: int, rows: int) -> None:
    with (
        serving(Scripted(*answer("It ", "fits."))) as server,
        open_terminal("--config", server.configuration(tmp_path), columns=columns, rows=rows) as terminal,
    ):
        terminal.wait_for("there")  # the backend's name, in the status line
        terminal.send("Does it?" + ENTER)
        terminal.wait_for("It fits.")
        quit_with_ctrl_q(terminal)


def test_a_terminal_too_small_to_use(open_terminal: OpenTerminal, tmp_path: Path) -> None:
    with (
        serving(Scripted(*answer("hidden"))) as server,
        open_terminal("--config", server.configuration(tmp_path), columns=20, rows=5) as terminal,
    ):
        terminal.wait_for("larger window")
        quit_with_ctrl_q(terminal)


def nobody(tmp_path: Path) -> Path:
    """A configuration for a server that is not there."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    path = tmp_path / "nobody.toml"
    path.write_text(f'backend = "there"\n[backends.there]\ntype = "native"\nurl = "http://127.0.0.1:{port}"\n')
    return path


def test_a_server_that_is_not_there(open_terminal: OpenTerminal, tmp_path: Path) -> None:
    with open_terminal("--config", nobody(tmp_path)) as terminal:
        usable(terminal)
        terminal.send("Anybody?" + ENTER)
        terminal.wait_for("cannot reach http://127.0.0.1", "Ctrl+R")
        quit_with_ctrl_q(terminal)


def test_an_error_is_retried_with_a_key(open_terminal: OpenTerminal, tmp_path: Path) -> None:
    with (
        serving(Scripted(Token("half an ans"), Error("OVERLOADED", "the queue is full", retryable=True))) as server,
        open_terminal("--config", server.configuration(tmp_path)) as terminal,
    ):
        usable(terminal)
        terminal.send("A question" + ENTER)
        terminal.wait_for("half an ans", "the queue is full")
        server.backend.script = answer("A whole answer.")
        terminal.send("\x12")  # Ctrl+R
        terminal.wait_for("A whole answer.", "complete")
        quit_with_ctrl_q(terminal)


def test_control_characters_of_a_model_never_reach_the_terminal(open_terminal: OpenTerminal, tmp_path: Path) -> None:
    evil = "before \x1b]0;EVIL\x07\x1b[2J\x9b2J after"
    with (
        serving(Scripted(*answer(evil))) as server,
        open_terminal("--config", server.configuration(tmp_path)) as terminal,
    ):
        usable(terminal)
        terminal.send("Title" + ENTER)
        terminal.wait_for("before", "after")
        quit_with_ctrl_q(terminal)
    assert b"\x1b]0;EVIL" not in terminal.raw
    assert b"\x9b2J" not in terminal.raw


def test_a_typo_in_the_configuration(open_terminal: OpenTerminal, tmp_path: Path) -> None:
    path = tmp_path / "typo.toml"
    path.write_text("[ui]\ntheem = 'x'\n")
    with open_terminal("--config", path, columns=200) as terminal:
        assert terminal.ended() == ExitCode.USAGE
        assert "line 2: unknown key 'theem'; did you mean 'theme'?" in terminal.text
        assert b"\x1b[?1049h" not in terminal.raw


def test_a_damaged_history(open_terminal: OpenTerminal, tmp_path: Path) -> None:
    path = tmp_path / "data" / "llmchat" / "history.sqlite"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"not a database" * 1000)
    with (
        serving(Scripted(*answer("It works."))) as server,
        open_terminal("--config", server.configuration(tmp_path)) as terminal,
    ):
        terminal.wait_for("damaged")
        terminal.send("Hello" + ENTER)
        terminal.wait_for("It works.", "complete")
        quit_with_ctrl_q(terminal)
    assert saved_answer(tmp_path) == "It works."


def test_a_model_that_cannot_be_read(open_terminal: OpenTerminal, tmp_path: Path) -> None:
    model = tmp_path / "corrupt.gguf"
    model.write_bytes(b"GGUF" + os.urandom(5000))
    with open_terminal("--model", model) as terminal:
        usable(terminal)
        terminal.send("Hello?" + ENTER)
        terminal.wait_for("cannot load the model", "Ctrl+R to retry")
        quit_with_ctrl_q(terminal)


def test_the_local_engine_from_question_to_quit(open_terminal: OpenTerminal, tiny_model: Path) -> None:
    """The prompt is usable before the model has loaded; what is asked meanwhile is answered when it has."""
    with open_terminal("--model", tiny_model) as terminal:
        usable(terminal)
        terminal.send("Hello?" + ENTER)
        terminal.wait_for("Hello?", "tok/s")
        terminal.send(ESC)
        terminal.wait_for(lambda text: "cancelled" in text or "truncated" in text)  # it may be quicker than Esc
        quit_with_ctrl_q(terminal)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, ExitCode.TERMINATED), (signal.SIGHUP, ExitCode.HUNG_UP)])
def test_a_signal_gives_the_terminal_back(
    open_terminal: OpenTerminal, tmp_path: Path, number: signal.Signals, code: ExitCode
) -> None:
    with (
        serving(Scripted(Token("half an answer"), Hold())) as server,
        open_terminal("--config", server.configuration(tmp_path)) as terminal,
    ):
        usable(terminal)
        terminal.send("A question" + ENTER)
        terminal.wait_for("half an answer")
        terminal.process.kill(number)
        server.wait_until(lambda: server.backend.cut == 1)
        assert terminal.ended() == code
    assert LEAVE_ALTERNATE_SCREEN in terminal.raw
    assert saved_answer(tmp_path) == "half an answer"


BROKEN = """
import sys
from tui.screens.chat import ChatScreen

def broken(self):
    raise RuntimeError("nobody expected this")

ChatScreen.cancel_answer = broken
sys.argv = ["llmchat", *sys.argv[1:]]
from tui.__main__ import main
main()
"""


def test_a_defect_is_one_line_on_a_terminal_given_back(home: dict[str, str], tmp_path: Path) -> None:
    with serving(Scripted(*answer("ok"))) as server:
        command = [sys.executable, "-c", BROKEN, "--config", str(server.configuration(tmp_path))]
        with Terminal(command, env=home, cwd=Path.cwd()) as terminal:
            usable(terminal)
            terminal.send(ESC)
            assert terminal.ended() == ExitCode.DEFECT
    behind = terminal.raw.split(LEAVE_ALTERNATE_SCREEN)[-1]
    assert b"llmchat: RuntimeError: nobody expected this" in behind
    assert b"Traceback" not in terminal.raw
    (log,) = tmp_path.rglob("llmchat.log")
    assert "in broken" in log.read_text()


def test_help_and_panel(open_terminal: OpenTerminal, tmp_path: Path) -> None:
    with (
        serving(Scripted(*answer("ok"))) as server,
        open_terminal("--config", server.configuration(tmp_path)) as terminal,
    ):
        usable(terminal)
        terminal.send("\x1bOP")  # F1
        terminal.wait_for("Ctrl+Q", "quit", "latency panel: full, one line, off")
        terminal.send(ESC)
        terminal.wait_for("Ask anything")
        quit_with_ctrl_q(terminal)
