"""Documents read in a process of their own, which is given up where it takes too long or too much memory.

What strangers wrote goes through other people's parsers: a bomb costs that one document, the others go on. Short plain
text and Markdown are read here, without a process.

The child (``python -m backends.rag.extract``) takes one `_Task` after another on standard input and answers each with
a `_Result` on standard output, both in MessagePack behind their length (4 bytes, big-endian).
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import IO

import msgspec

from backends.rag.formats import read_sections
from backends.rag.sections import Section, Unreadable

TIME_LIMIT_S = 30.0
MEMORY_LIMIT = 2 << 30
_HERE = frozenset({"markdown", "text"})
_HERE_BYTES = 1 << 15  # what hostile Markdown of this size can take is half a second
_LENGTH = struct.Struct(">I")


class _Task(msgspec.Struct, array_like=True):
    format: str
    name: str
    data: bytes


class _Result(msgspec.Struct, array_like=True):
    """Sections, or why there are none."""

    sections: list[Section] = []
    failure: str = ""
    lasting: bool = True


class Extractor:
    """Reads documents into sections; its process starts with the first one that needs it. From one thread at a time.

    `close` may come from any thread, and ends a document that is being read.
    """

    def __init__(self, time_limit: float = TIME_LIMIT_S) -> None:
        self._time_limit = time_limit
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._closed = False

    def __enter__(self) -> Extractor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def sections(self, kind: str, data: bytes, name: str) -> list[Section]:
        """The sections of a document of format `kind`. Raises Unreadable."""
        if kind in _HERE and len(data) <= _HERE_BYTES:
            return read_sections(kind, data, name)
        result = self._ask(_Task(kind, name, data))
        if result.failure:
            raise Unreadable(result.failure, lasting=result.lasting)
        return result.sections

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._closed = True
        self._end()

    def _ask(self, task: _Task) -> _Result:
        process = self._started()
        late = threading.Event()

        def give_up() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(self._time_limit, give_up)
        timer.start()
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            _write(process.stdin, msgspec.msgpack.encode(task))
            answer = _read(process.stdout)
        except OSError:  # it ended while it was being told
            answer = b""
        finally:
            timer.cancel()
        if answer:
            return msgspec.msgpack.decode(answer, type=_Result)
        self._end()
        return _Result(failure=f"reading it takes longer than {self._time_limit:g} s" if late.is_set() else _CRASHED)

    def _started(self) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._closed:
                raise Unreadable("the index was closed")
            if self._process is None:
                command = [sys.executable, "-P", "-m", __name__]
                pipe, null = subprocess.PIPE, subprocess.DEVNULL
                self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=null, env=_environment())
            return self._process

    def _end(self) -> None:
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    try:
                        stream.close()
                    except OSError:  # what was never read by the dead
                        continue


_CRASHED = f"its parser crashed, or needed more than {MEMORY_LIMIT >> 30} GiB"


def _environment() -> dict[str, str]:
    """Ours, with this very copy of llmchat."""
    paths = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}


def _write(stream: IO[bytes], message: bytes) -> None:
    stream.write(_LENGTH.pack(len(message)) + message)
    stream.flush()


def _read(stream: IO[bytes]) -> bytes:
    """The next message; empty at the end."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return b""
    size: int = _LENGTH.unpack(head)[0]
    message = stream.read(size)
    return message if len(message) == size else b""


def main() -> None:
    """The child: answer until standard input ends."""
    tasks, results = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a parser prints
    _limit()
    while message := _read(tasks):
        task = msgspec.msgpack.decode(message, type=_Task)
        try:
            result = _Result(read_sections(task.format, task.data, task.name))
        except Unreadable as error:
            result = _Result(failure=str(error), lasting=error.lasting)
        except Exception as error:  # noqa: BLE001 - the boundary to parsers that may raise anything on a broken file
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            result = _Result(failure=f"it is damaged, or not what its name says ({reason[:200]})")
        _write(results, msgspec.msgpack.encode(result))


def _limit() -> None:
    """Bound this process: memory, no files written."""
    if sys.platform == "win32":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    if sys.platform == "linux":  # elsewhere the address space is not what is used
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))


if __name__ == "__main__":
    main()
