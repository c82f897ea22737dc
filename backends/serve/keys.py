"""API keys: a file of their hashes (mode 0600), and who brings which.

A key is 256 random bits, so that one SHA-256 of it is enough: there is nothing to guess (unlike a password's).
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import secrets
import stat
import time
from pathlib import Path
from typing import Annotated

import msgspec

from backends.errors import ConfigError

_log = logging.getLogger(__name__)

_PREFIX = "llmchat-"


class Key(msgspec.Struct, frozen=True):
    """A key as it is kept. Limits are 0 where there is none."""

    id: str
    name: str
    hash: str
    created: str
    requests_per_minute: Annotated[int, msgspec.Meta(ge=0)] = 0
    concurrency: Annotated[int, msgspec.Meta(ge=0)] = 0


def default_path() -> Path:
    """The key file in the platform's config folder; it need not exist."""
    from platformdirs import user_config_path

    return user_config_path("llmchat") / "keys.json"


def read(path: Path) -> tuple[Key, ...]:
    """The keys in the file `path`; none where there is no such file. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            if os.name == "posix" and stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                raise ConfigError(f"{path}: others can read this key file; run: chmod 600 {path}")
            return msgspec.json.decode(file.read(), type=tuple[Key, ...])
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise ConfigError(f"{path}: the key file cannot be read: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not a key file: {error}") from None


def add(path: Path, name: str, requests_per_minute: int = 0, concurrency: int = 0) -> tuple[Key, str]:
    """A new key in the file `path`, and the secret itself, which is kept nowhere. Raises ConfigError."""
    keys = read(path)
    if any(key.name == name for key in keys):
        raise ConfigError(f"{path}: there is a key named '{name}' already; revoke it, or choose another name")
    secret = _PREFIX + secrets.token_urlsafe(32)
    today = time.strftime("%Y-%m-%d", time.gmtime())
    key = Key(secrets.token_hex(6), name, _hash(secret), today, requests_per_minute, concurrency)
    _write(path, (*keys, key))
    return key, secret


def revoke(path: Path, name: str) -> Key:
    """Take the key of that name or id out of the file. Raises ConfigError."""
    keys = read(path)
    for key in keys:
        if name in (key.name, key.id):
            _write(path, tuple(other for other in keys if other is not key))
            return key
    raise ConfigError(f"{path}: there is no key '{name}'; llmchat keys list shows them")


class KeyRing:
    """The keys in a file, read again whenever it has changed: a revoked key is refused from then on."""

    def __init__(self, path: Path) -> None:
        """Raises ConfigError."""
        self._path = path
        self._stamp = self._look()
        self._keys = read(path)

    def find(self, secret: str) -> Key | None:
        """Whose secret that is. Every key is compared, so that the time it takes tells nothing."""
        self._refresh()
        given, found = _hash(secret), None
        for key in self._keys:
            if hmac.compare_digest(key.hash, given):
                found = key
        return found

    def _refresh(self) -> None:
        stamp = self._look()
        if stamp == self._stamp:
            return
        try:
            self._keys = read(self._path)
        except ConfigError as error:
            _log.error("no key is taken any more: %s", error)
            self._keys = ()
        self._stamp = stamp

    def _look(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _write(path: Path, keys: tuple[Key, ...]) -> None:
    """All of it or nothing, for its owner only."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(keys)) + b"\n")
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise ConfigError(f"{path}: the key file cannot be written: {error.strerror}") from None
