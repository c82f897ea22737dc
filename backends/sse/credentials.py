"""The key for a server: from the environment, a private file, the keyring, or a command. Never from the config.

What the first two name is read at once. A keyring or a command may ask a person to unlock it, so it is asked when the
first connection is wanted, and not by whoever lists the backends.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from backends.errors import ConfigError
from backends.sse.excerpt import clean

Key = str | Callable[[], Awaitable[str]]
"""A key, or what gets it: raises ConfigError, in whose message the key never is."""

COMMAND_WITHIN = 60.0
"""Seconds that a command is given: a person may have to unlock something."""


def find_key(
    name: str,
    path: Callable[[str], Path],
    env: str = "",
    file: str = "",
    command: Sequence[str] = (),
    keyring: str = "",
) -> Key | None:
    """The key of backend `name`: variable `env`, the first line of `file`, the first line that `command` prints, or the
    password that the keyring has for `keyring` (``SERVICE/USER``); None where none is named.

    `path` resolves a path of the configuration. Raises ConfigError; the key itself is in no message.
    """
    named = {"api_key_env": env, "api_key_file": file, "api_key_command": command, "api_key_keyring": keyring}
    given = [option for option, value in named.items() if value]
    if len(given) > 1:
        raise ConfigError(f"backend '{name}': {' and '.join(given)} are both set; a key comes from one place")
    if command:
        return lambda: _of_command(name, command)
    if keyring:
        service, _, user = keyring.rpartition("/")
        if not service or not user:
            raise ConfigError(f"backend '{name}': api_key_keyring = '{keyring}' should be SERVICE/USER")
        return lambda: asyncio.to_thread(_of_keyring, name, service, user)
    return _of_environment(name, env) if env else _of_file(name, path(file)) if file else None


def _of_environment(name: str, variable: str) -> str:
    key = os.environ.get(variable, "").strip()
    if not key:
        raise ConfigError(f"backend '{name}': the environment variable {variable} (api_key_env) is not set")
    return _checked(key, f"the environment variable {variable}")


def _of_file(name: str, place: Path) -> str:
    try:
        with place.open(encoding="utf-8") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
                raise ConfigError(f"{place}: others can read this key file; run: chmod 600 {place}")
            key = stream.readline(65_536).strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigError(f"{place}: the key file of backend '{name}' cannot be read: {reason}") from None
    if not key:
        raise ConfigError(f"{place}: the key file of backend '{name}' is empty")
    return _checked(key, str(place))


async def _of_command(name: str, command: Sequence[str]) -> str:
    """No shell reads `command`, and no terminal is there for it to write over the screen."""
    where = f"backend '{name}': api_key_command {command[0]}"
    pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=nothing, stdout=pipe, stderr=pipe, start_new_session=True
        )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError(f"{where} cannot be run: {reason}") from None
    try:
        async with asyncio.timeout(COMMAND_WITHIN):
            output, complaint = await process.communicate()
    except TimeoutError:
        raise ConfigError(f"{where} gave no key within {COMMAND_WITHIN:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        words = clean(complaint.decode("utf-8", "replace"), 120)
        raise ConfigError(f"{where} failed with status {process.returncode}" + (f": {words}" if words else ""))
    first = output.decode("utf-8", "replace").partition("\n")[0].strip()
    if not first:
        raise ConfigError(f"{where} printed no key")
    return _checked(first, f"what api_key_command {command[0]} printed")


def _of_keyring(name: str, service: str, user: str) -> str:
    where = f"backend '{name}': the keyring"
    try:
        import keyring
        from keyring.errors import KeyringError
    except ImportError:
        raise ConfigError(f"{where} cannot be asked: pip install 'llmchat[keyring]'") from None
    try:
        key = keyring.get_password(service, user)
    except KeyringError as error:
        raise ConfigError(f"{where} cannot be asked: {clean(str(error), 200)}") from None
    if not key:
        raise ConfigError(f"{where} has no password for {user} at {service}; store it: keyring set {service} {user}")
    return _checked(key.strip(), "the keyring's password")


def _checked(key: str, where: str) -> str:
    """`key` if it can stand in an HTTP header."""
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError(f"{where} holds no usable key: a key has printable ASCII characters only, no spaces")
    return key
