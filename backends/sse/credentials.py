"""The key for a server: from the environment or from a file that only its owner can read. Never from the config."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from backends.errors import ConfigError


def read_key(name: str, env: str, file: str, path: Callable[[str], Path]) -> str | None:
    """The key of backend `name`: variable `env`, else the first line of `file`; None when neither is named.

    `path` resolves a path of the configuration. Raises ConfigError; the key itself is in no message.
    """
    if env:
        key = os.environ.get(env, "").strip()
        if not key:
            raise ConfigError(f"backend '{name}': the environment variable {env} (api_key_env) is not set")
        return _checked(key, f"the environment variable {env}")
    if not file:
        return None
    place = path(file)
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


def _checked(key: str, where: str) -> str:
    """`key` if it can stand in an HTTP header."""
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError(f"{where} holds no usable key: a key has printable ASCII characters only, no spaces")
    return key
