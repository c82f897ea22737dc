"""The clipboard: which way is taken, and that what is said about it is true."""

from __future__ import annotations

import re
import sys
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path

import pytest

from tui import clipboard

Program = Callable[[str, str], None]


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """A desktop with a PATH of its own."""
    return {"PATH": str(tmp_path), "WAYLAND_DISPLAY": "wayland-0", "DISPLAY": ":0"}


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """Puts a program on the PATH: Python that does what it is told."""

    def put(name: str, body: str) -> None:
        path = tmp_path / name
        path.write_text(f"#!{sys.executable} -SE\nimport sys, time, pathlib\n{body}\n", "utf-8")
        path.chmod(0o755)

    return put


def keep(path: Path) -> str:
    return f"pathlib.Path({str(path)!r}).write_bytes(sys.stdin.buffer.read())"


def test_over_ssh_only_a_forwarded_display_is_the_persons_own() -> None:
    local = {"WAYLAND_DISPLAY": "w", "DISPLAY": ":0", "WSL_DISTRO_NAME": "x"}
    assert [command[0] for command in clipboard.programs(local, "linux")] == ["wl-copy", "clip.exe", "xclip", "xsel"]
    assert clipboard.programs({**local, "SSH_TTY": "/dev/pts/1"}, "linux") == []
    forwarded = {"SSH_CONNECTION": "1", "DISPLAY": "localhost:10.0"}
    assert [command[0] for command in clipboard.programs(forwarded, "linux")] == ["xclip", "xsel"]
    assert clipboard.programs({}, "darwin") == [("pbcopy",)]
    assert clipboard.programs({}, "linux") == []


@pytest.mark.parametrize("environ", [{}, {"TMUX": "/s,1,0"}, {"STY": "1.pts"}])
def test_the_terminal_gets_the_whole_text_through_a_multiplexer_too(environ: dict[str, str]) -> None:
    text = "häßlich 你好 " * 200
    sent = clipboard.sequence(text, environ)
    assert sent is not None
    if "STY" in environ:
        pieces = re.findall("\x1bP(.*?)\x1b\\\\", sent, re.DOTALL)
        assert all(len(piece) <= 250 for piece in pieces)
        sent = "".join(pieces)
    if "TMUX" in environ:
        sent, passed = sent.split("\x1bPtmux;")
        assert passed == sent.replace("\x1b", "\x1b\x1b") + "\x1b\\"
    data = sent.removeprefix("\x1b]52;c;").removesuffix("\a")
    assert b64decode(data, validate=True).decode() == text


async def test_a_program_that_took_it_is_named_and_the_terminal_left_alone(
    environ: dict[str, str], program: Program, tmp_path: Path
) -> None:
    program("wl-copy", keep(tmp_path / "got"))
    sent: list[str] = []
    assert await clipboard.copy("ab\nü", sent.append, environ) == "copied 4 characters with wl-copy"
    assert (tmp_path / "got").read_text("utf-8") == "ab\nü"
    assert not sent


async def test_the_next_program_is_tried_when_one_fails(
    environ: dict[str, str], program: Program, tmp_path: Path
) -> None:
    program("wl-copy", "sys.exit(1)")
    program("xclip", keep(tmp_path / "got"))
    assert await clipboard.copy("x", lambda _: None, environ) == "copied 1 character with xclip"
    assert (tmp_path / "got").read_text("utf-8") == "x"


async def test_a_failure_and_the_fallback_are_both_said(environ: dict[str, str], program: Program) -> None:
    program("wl-copy", "sys.exit(3)")
    sent: list[str] = []
    said = await clipboard.copy("xyz", sent.append, environ)
    assert said == "wl-copy failed (3); sent 3 characters to the terminal (OSC 52), which may not take them"
    assert sent == ["\x1b]52;c;eHl6\a"]


async def test_a_program_that_hangs_is_ended(
    environ: dict[str, str], program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clipboard, "_TIMEOUT", 0.3)
    program("wl-copy", "time.sleep(600)")
    assert "wl-copy did not answer" in await clipboard.copy("x", lambda _: None, environ)


async def test_what_is_no_program_is_said(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "wl-copy").write_text("#!/nowhere\n", "utf-8")
    (tmp_path / "wl-copy").chmod(0o755)
    assert (await clipboard.copy("x", lambda _: None, environ)).startswith("wl-copy cannot be run (")


@pytest.mark.parametrize(("name", "receiver"), [("TMUX", "tmux (OSC 52), which needs"), ("STY", "GNU screen (OSC 52)")])
async def test_the_receiver_is_named(name: str, receiver: str) -> None:
    assert f"to {receiver}" in await clipboard.copy("x", lambda _: None, {name: "1"})


async def test_too_much_for_a_terminal_is_not_pretended() -> None:
    sent: list[str] = []
    assert (await clipboard.copy("x" * 75_000, sent.append, {})).startswith("sent 75,000 characters")
    said = await clipboard.copy("x" * 75_001, sent.append, {})
    assert said.startswith("not copied: 75,001 characters are more than a terminal takes (75,000 bytes)")
    assert len(sent) == 1
