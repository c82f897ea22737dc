"""Putting text on the clipboard, and telling truly what came of it.

A program beside the desktop (wl-copy, xclip, ...) says whether it worked; where there is none, or it fails, the text
goes to the terminal as OSC 52 (xterm's "Manipulate Selection Data", ``ESC ] 52 ; c ; BASE64 BEL``), which says nothing.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
from base64 import b64encode
from collections.abc import Callable, Mapping

LIMIT = 100_000
"""Base64 characters that terminals are sure to take in one OSC 52; many cut what is longer, or drop it silently."""

_SCREEN_PIECE = 250
"""Characters in one of GNU screen's passthrough strings, which end at 768 bytes in old versions, 256 in older ones."""

_TIMEOUT = 2.0
"""Seconds that a clipboard program gets."""


def programs(environ: Mapping[str, str], platform: str = sys.platform) -> list[tuple[str, ...]]:
    """The commands that may reach the clipboard of the person at the keyboard, likeliest first.

    Over ssh only an X display that is forwarded does: any other would be the clipboard of the machine far away.
    """
    remote = bool(environ.get("SSH_CONNECTION") or environ.get("SSH_TTY"))
    display = environ.get("DISPLAY", "")
    found: list[tuple[str, ...]] = []
    if not remote:
        if environ.get("WAYLAND_DISPLAY"):
            found.append(("wl-copy",))
        if platform == "darwin":
            found.append(("pbcopy",))
        if environ.get("WSL_DISTRO_NAME"):
            found.append(("clip.exe",))
    if display and (not remote or not display.startswith(":")):
        found += [("xclip", "-selection", "clipboard"), ("xsel", "--clipboard", "--input")]
    return found


def sequence(text: str, environ: Mapping[str, str]) -> str | None:
    """What to write to the terminal for `text`, through tmux or screen where they are; None when it is too long."""
    data = b64encode(text.encode()).decode()
    if len(data) > LIMIT:
        return None
    plain = f"\x1b]52;c;{data}\a"
    if environ.get("TMUX"):  # tmux takes the plain one with `set-clipboard on`, the other with `allow-passthrough on`
        return plain + "\x1bPtmux;" + plain.replace("\x1b", "\x1b\x1b") + "\x1b\\"
    if environ.get("STY"):
        pieces = (plain[at : at + _SCREEN_PIECE] for at in range(0, len(plain), _SCREEN_PIECE))
        return "".join(f"\x1bP{piece}\x1b\\" for piece in pieces)
    return plain


async def copy(text: str, write: Callable[[str], object], environ: Mapping[str, str]) -> str:
    """Copies `text`, with `write` to the terminal if need be; what happened, in words for a person."""
    size = f"{len(text):,} character{'' if len(text) == 1 else 's'}"
    failed = ""
    for command in programs(environ):
        path = shutil.which(command[0], path=environ.get("PATH"))
        if path is None:
            continue
        problem = await _run((path, *command[1:]), text, environ)
        if not problem:
            return f"copied {size} with {command[0]}"
        failed = failed or f"{command[0]} {problem}; "
    osc = sequence(text, environ)
    if osc is None:
        limit = f"{LIMIT * 3 // 4:,} bytes"
        return f"{failed}not copied: {size} are more than a terminal takes ({limit}); copy a part of it"
    write(osc)
    return f"{failed}sent {size} to {_receiver(environ)}"


def _receiver(environ: Mapping[str, str]) -> str:
    """Who gets an OSC 52, and why it may not arrive."""
    if environ.get("TMUX"):
        return "tmux (OSC 52), which needs: set-clipboard on"
    return f"{'GNU screen' if environ.get('STY') else 'the terminal'} (OSC 52), which may not take them"


async def _run(command: tuple[str, ...], text: str, environ: Mapping[str, str]) -> str:
    """Gives `text` to a program; what went wrong, "" when nothing did.

    Its output goes nowhere: xclip stays in the background with it, and would be waited for.
    """
    nowhere = asyncio.subprocess.DEVNULL
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=nowhere, stderr=nowhere, env=dict(environ)
        )
    except OSError as error:
        return f"cannot be run ({error.strerror})"
    try:
        async with asyncio.timeout(_TIMEOUT):
            await process.communicate(_encoded(command[0], text))
    except TimeoutError:
        return f"did not answer in {_TIMEOUT:.0f} s"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return f"failed ({process.returncode})" if process.returncode else ""


def _encoded(path: str, text: str) -> bytes:
    """Windows' own program reads UTF-16."""
    return text.encode("utf-16") if path.endswith("clip.exe") else text.encode()
