"""Documents from the disk: which files there are, and the bytes of one.

Safe with folders that others can write to: hidden files are left out, a link is followed only to a regular file inside
the same folder, nothing but regular files is opened, and no file larger than the limit is read.
"""

from __future__ import annotations

import hashlib
import logging
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from backends.errors import BackendError, Code
from backends.rag.formats import MAX_BYTES, SUFFIXES, format_of
from backends.rag.sections import Unreadable

logger = logging.getLogger(__name__)

MAX_FILES = 20_000


class File(msgspec.Struct, frozen=True):
    """A file that may be a document. `path` is resolved; `name` is what citations show: the path inside its folder."""

    path: Path
    name: str
    mtime_ns: int
    size: int

    @property
    def format(self) -> str:
        """Its format, by its name."""
        return format_of(self.path.suffix)


def find(documents: Sequence[Path], max_files: int = MAX_FILES) -> list[File]:
    """The files under `documents`, in the order of their names; a folder is searched, a single file is taken as it is.

    At most `max_files` (a warning says so). Raises BackendError (NOT_FOUND) for a path that is not there or cannot be
    listed, naming it.
    """
    files: dict[Path, File] = {}
    for root in documents:
        for file in _under(root):
            if len(files) >= max_files:
                logger.warning("more than %d documents under %s: the rest is left out", max_files, root)
                break
            files.setdefault(file.path, file)
    return sorted(files.values(), key=lambda file: (file.name, str(file.path)))


def read(file: File) -> bytes:
    """The bytes of `file`. Raises Unreadable where it is too large, gone, or not a regular file any more."""
    limit = MAX_BYTES[file.format]
    try:
        if file.size > limit:
            raise OSError(f"it has {file.size:,} bytes, the limit is {limit:,}")
        return _read_regular(file.path, limit)
    except OSError as error:
        raise Unreadable(str(error)) from error


def digest(data: bytes) -> str:
    """A fingerprint of a file's bytes."""
    return hashlib.sha256(data).hexdigest()


def _under(root: Path) -> Iterator[File]:
    try:
        resolved = root.expanduser().resolve(strict=True)
        if resolved.is_dir():
            yield from _search(resolved)
        else:
            yield _file(resolved, root.name)
    except FileNotFoundError as error:
        message = f"the documents folder {root} does not exist; create it or set another one"
        raise BackendError(Code.NOT_FOUND, message) from error
    except (OSError, RuntimeError) as error:  # RuntimeError: a home folder that cannot be told, a loop of links
        message = f"the documents folder {root} cannot be read: {error}"
        raise BackendError(Code.NOT_FOUND, message) from error


def _search(root: Path) -> Iterator[File]:
    """All documents below `root`; folders that are links are not entered, so that there are no loops."""
    folders = [root]
    while folders:
        folder = folders.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            if folder == root:
                raise
            logger.warning("folder %s skipped: %s", folder, error)
            continue
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                folders.append(folder / entry.name)
            elif Path(entry.name).suffix.lower() in SUFFIXES:
                found = _inside(root, folder / entry.name)
                if found is not None:
                    yield found


def _inside(root: Path, path: Path) -> File | None:
    """The file at `path`, unless it is a link out of `root`, not a regular file, or gone by now."""
    try:
        resolved = path.resolve(strict=True)
        if not resolved.is_relative_to(root):
            logger.info("document %s skipped: it is a link out of %s", path, root)
            return None
        file = _file(resolved, path.relative_to(root).as_posix())
    except (OSError, RuntimeError) as error:
        logger.info("document %s skipped: %s", path, error)
        return None
    return file


def _file(path: Path, name: str) -> File:
    status = path.stat(follow_symlinks=False)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(f"{path} is not a regular file")
    return File(path, name, status.st_mtime_ns, status.st_size)


def _read_regular(path: Path, max_bytes: int) -> bytes:
    """The bytes of `path`; looked at again once it is open, since somebody may have put something else there."""
    # O_NONBLOCK: opening a pipe that took the file's place must not wait for a writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError("it is not a regular file")
        data = stream.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise OSError(f"it grew beyond {max_bytes:,} bytes")
    return data
