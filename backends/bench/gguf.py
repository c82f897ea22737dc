"""Writing a GGUF, version 3 (ggml's ``docs/gguf.md``), tensor by tensor: nothing is held that does not fit a chunk."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

Kind = Literal["f32", "f16", "q4_0", "q8_0"]
"""Number formats of a tensor. The quantized ones are blocks of 32 numbers: a 16-bit scale and 4 or 8 bits each."""

Field = tuple[str, Any]
"""A metadata value with its type: "str", "u32", "f32", "bool", "str[]", "i32[]", "f32[]"."""

BLOCK = 32
_ALIGNMENT = 32
_TYPE_IDS: dict[Kind, int] = {"f32": 0, "f16": 1, "q4_0": 2, "q8_0": 8}
_BLOCK_BYTES: dict[Kind, int] = {"f32": 4 * BLOCK, "f16": 2 * BLOCK, "q4_0": 18, "q8_0": 34}
_SCALARS = {"u32": (4, "I"), "f32": (6, "f"), "bool": (7, "?")}
_ARRAYS = {"i32[]": (5, "i"), "f32[]": (6, "f")}


class Tensor(NamedTuple):
    """A matrix of `rows` x `columns` numbers (one row: a vector); `chunks` gives its bytes, row after row."""

    name: str
    rows: int
    columns: int
    kind: Kind
    chunks: Callable[[], Iterable[Any]]

    @property
    def size(self) -> int:
        """Its bytes in the file."""
        return self.rows * self.columns // BLOCK * _BLOCK_BYTES[self.kind]


def write(path: Path, fields: dict[str, Field], tensors: Sequence[Tensor]) -> None:
    """Write the file; it appears at `path` only when it is complete. Raises OSError."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with partial.open("wb") as file:
            file.write(_head(fields, tensors))
            for tensor in tensors:
                for chunk in tensor.chunks():
                    file.write(chunk)
                file.write(bytes(-tensor.size % _ALIGNMENT))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _head(fields: dict[str, Field], tensors: Sequence[Tensor]) -> bytes:
    parts = [b"GGUF", struct.pack("<IQQ", 3, len(tensors), len(fields))]
    parts += [_string(key) + b"".join(_value(kind, value)) for key, (kind, value) in fields.items()]
    offset = 0
    for tensor in tensors:
        shape = (tensor.columns,) if tensor.rows == 1 else (tensor.columns, tensor.rows)
        form = f"<I{len(shape)}QIQ"
        parts.append(_string(tensor.name) + struct.pack(form, len(shape), *shape, _TYPE_IDS[tensor.kind], offset))
        offset += tensor.size + -tensor.size % _ALIGNMENT
    head = b"".join(parts)
    return head + bytes(-len(head) % _ALIGNMENT)


def _string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _value(kind: str, value: Any) -> Iterator[bytes]:
    if kind == "str":
        yield struct.pack("<I", 8) + _string(value)
    elif kind == "str[]":
        yield struct.pack("<IIQ", 9, 8, len(value))
        yield from map(_string, value)
    elif kind in _ARRAYS:
        number, letter = _ARRAYS[kind]
        yield struct.pack(f"<IIQ{len(value)}{letter}", 9, number, len(value), *value)
    else:
        number, letter = _SCALARS[kind]
        yield struct.pack(f"<I{letter}", number, value)
