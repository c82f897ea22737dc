"""The private folder in which children of this user are found: sockets, addresses and locks.

It is 0700 and ours, checked before anything in it is trusted: whoever could write here could pose as the engine.
"""

from __future__ import annotations

import hashlib
import os
import socket
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from backends.errors import BackendError, Code
from backends.local.spec import Endpoint

SOCKET_PATH_BYTES = 100
"""The longest path of a Unix socket that works everywhere (sockaddr_un: 108 bytes on Linux, 104 on macOS)."""

_PROBE_S = 0.2
_SOCKET_NAME_BYTES = 1 + 16 + 1 + 8 + len(".sock")


class RuntimeFolder:
    """What lies in the folder `path`: ``KEY.json`` (an `Endpoint`), ``KEY.lock`` while one starts, and the sockets."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def default(cls) -> RuntimeFolder:
        """The user's one: in ``XDG_RUNTIME_DIR``, else in the folder for temporary files under the user's id.

        A path too long for sockets is replaced by a short one made from it. Raises BackendError when the folder cannot
        be had or is not private.
        """
        base = os.environ.get("XDG_RUNTIME_DIR", "")
        if Path(base).is_absolute() and Path(base).is_dir():
            return cls(private(shortened(Path(base) / "llmchat")))
        return cls(private(Path(tempfile.gettempdir()) / f"llmchat-{os.getuid()}"))

    def lock(self, key: str) -> Path:
        """The file that is locked while a child for `key` is looked for or started."""
        return self.path / f"{key}.lock"

    def new_socket(self, key: str) -> Path:
        """A path for a child's socket that no other child has, dead or alive."""
        return self.path / f"{key}-{os.urandom(4).hex()}.sock"

    def find(self, key: str) -> Endpoint | None:
        """Where the last child for `key` said it answers; it may be dead. A damaged file counts as none."""
        try:
            return msgspec.json.decode(self._path(key).read_bytes(), type=Endpoint)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def publish(self, key: str, endpoint: Endpoint) -> None:
        """Leave `endpoint` for the clients, 0600, at once and whole."""
        draft = self.path / f"{key}-{os.urandom(4).hex()}.new"
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(msgspec.json.encode(endpoint))
        draft.rename(self._path(key))

    def hide(self, key: str, endpoint: Endpoint) -> None:
        """Let nobody else find the child at `endpoint`; those who have, keep it."""
        if self.find(key) == endpoint:
            self._path(key).unlink(missing_ok=True)

    def forget(self, key: str, endpoint: Endpoint) -> None:
        """Remove what the child at `endpoint` left here, and nothing of another one."""
        if endpoint.uds and Path(endpoint.uds).parent == self.path:
            Path(endpoint.uds).unlink(missing_ok=True)
        self.hide(key, endpoint)

    def sweep(self) -> None:
        """Remove what children left that were killed: nobody else would, once the model or the settings changed."""
        for path in self.path.glob("*.json"):
            endpoint = self.find(path.stem)
            if endpoint is not None and not _is_listening(endpoint):
                self.forget(path.stem, endpoint)

    def _path(self, key: str) -> Path:
        return self.path / f"{key}.json"


def _is_listening(endpoint: Endpoint) -> bool:
    parts = urlsplit(endpoint.url)
    where: str | tuple[str | None, int | None] = endpoint.uds or (parts.hostname, parts.port)
    family = socket.AF_UNIX if endpoint.uds else socket.AF_INET
    with socket.socket(family) as probe:
        probe.settimeout(_PROBE_S)
        try:
            probe.connect(where)
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:  # busy, most likely
            return True
    return True


def private(path: Path) -> Path:
    """Make sure that `path` is a folder of ours that nobody else may enter. Raises BackendError."""
    try:
        with suppress(FileExistsError):
            path.mkdir(mode=0o700)
        found = path.lstat()
    except OSError as error:
        raise BackendError(Code.CONFIG, f"{path}: no folder for the engine's socket: {error.strerror}") from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise _refused(path, "is not a folder of yours")
    if found.st_mode & 0o077:
        raise _refused(path, f"is open to others (mode {found.st_mode & 0o777:03o}); chmod 700 it")
    return path


def shortened(path: Path) -> Path:
    """`path`, or a short folder for temporary files named after it where a socket in `path` could not be bound."""
    if len(os.fsencode(path)) + _SOCKET_NAME_BYTES <= SOCKET_PATH_BYTES:
        return path
    name = hashlib.sha256(os.fsencode(path)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"llmchat-{os.getuid()}-{name}"


def _refused(path: Path, why: str) -> BackendError:
    advice = "or set XDG_RUNTIME_DIR to a folder that only you can enter"
    return BackendError(Code.CONFIG, f"{path}: {why}, {advice}: the engine's socket is kept there")
