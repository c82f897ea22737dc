"""What a GGUF says about itself, read from its head without llama.cpp (ggml's ``docs/gguf.md``, versions 2 and 3)."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, BinaryIO

from backends.errors import BackendError, Code

_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_LONGEST = 1 << 20
"""Bytes of a text, and elements of an array, beyond which the file is taken to be damaged, or skipped."""


def read_header(path: Path) -> dict[str, Any]:
    """The metadata: numbers, texts, and short arrays of numbers; arrays of texts are left out.

    Raises BackendError (MODEL_LOAD) when it cannot be read.
    """
    try:
        with path.open("rb") as file:
            magic, version, _, fields = struct.unpack("<4sIQQ", file.read(24))
            if magic != b"GGUF" or version not in (2, 3):
                raise ValueError("it does not begin like a GGUF file of version 2 or 3")
            found = (_field(file) for _ in range(fields))
            return {key: value for key, value in found if value is not None}
    except (OSError, ValueError, struct.error) as error:
        raise BackendError(Code.MODEL_LOAD, f"{path}: cannot be read as a GGUF file: {error}") from None


def _field(file: BinaryIO) -> tuple[str, Any]:
    key = _text(file)
    return key, _value(file, _number(file, "I"))


def _value(file: BinaryIO, kind: int) -> Any:
    if kind == _STRING:
        return _text(file)
    if kind == _ARRAY:
        return _array(file, _number(file, "I"), _number(file, "Q"))
    if kind not in _NUMBERS:
        raise ValueError(f"there is no type of value {kind}")
    return _number(file, _NUMBERS[kind])


def _array(file: BinaryIO, kind: int, count: int) -> list[Any] | None:
    if kind == _STRING:
        for _ in range(count):
            file.seek(_number(file, "Q"), 1)
        return None
    letter = _NUMBERS.get(kind)
    if letter is None or count > _LONGEST:
        raise ValueError(f"an array of {count} values of type {kind}")
    raw = file.read(count * struct.calcsize(letter))
    return list(struct.unpack(f"<{count}{letter}", raw))


def _number(file: BinaryIO, letter: str) -> Any:
    return struct.unpack(f"<{letter}", file.read(struct.calcsize(letter)))[0]


def _text(file: BinaryIO) -> str:
    size = _number(file, "Q")
    if size > _LONGEST:
        raise ValueError(f"a text of {size} bytes")
    return file.read(size).decode("utf-8", "replace")
