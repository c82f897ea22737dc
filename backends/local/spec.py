"""What a child process serves, what it is told at its start, and what it tells back: plain data, and the key.

Two clients that want the same thing compute the same key, and so find the same child.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

import msgspec

from backends.engine.options import EngineOptions
from backends.errors import BackendError, Code
from backends.events import Error
from backends.rag.options import Embedding

Transport = Literal["auto", "unix", "tcp"]


class Spec(msgspec.Struct, frozen=True):
    """What is served: a model with its settings, and the documents around it ("" for none). Paths are absolute."""

    engine: EngineOptions
    documents: str = ""
    top_k: int = 3
    token_budget: int = 3000
    compress: bool = False
    embedding: Embedding = Embedding()
    reranker: str = ""
    database: str = ""


class Start(msgspec.Struct, frozen=True):
    """What a child reads from its standard input, as JSON.

    `folder`: the private folder for its socket and address. `grace`: seconds it stays after its last lease has gone;
    `first_lease`: seconds it waits for its first one. `transport` "auto" is a Unix socket where that can be had.
    """

    spec: Spec
    key: str
    folder: str
    transport: Transport = "auto"
    grace: float = 2.0
    first_lease: float = 30.0


class Endpoint(msgspec.Struct, frozen=True):
    """Where a child answers: on the Unix socket `uds`, or with that empty on loopback TCP; to who brings `token`."""

    pid: int
    url: str
    uds: str
    token: str


class Handshake(msgspec.Struct, frozen=True):
    """What a child writes to its standard output, once, as JSON: its endpoint, or why there is none."""

    endpoint: Endpoint | None = None
    error: Error | None = None


def key(spec: Spec) -> str:
    """The name under which clients find a child that serves `spec`: 16 hexadecimal digits.

    It covers the settings, llmchat's version and place, and the model file's time and size: a replaced file or program
    is another child. Raises BackendError (MODEL_LOAD) when there is no such model file.
    """
    model = Path(spec.engine.model)
    try:
        stat = model.stat()
    except OSError as error:
        raise BackendError(Code.MODEL_LOAD, f"{model}: the model cannot be read: {error.strerror}") from None
    if not model.is_file():
        raise BackendError(Code.MODEL_LOAD, f"{model}: not a file; model must name a GGUF file")
    parts = [msgspec.json.encode(spec), f"{stat.st_mtime_ns} {stat.st_size}".encode(), _program()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def _program() -> bytes:
    from importlib.metadata import PackageNotFoundError, version

    try:
        number = version("llmchat")
    except PackageNotFoundError:
        number = "not installed"
    return f"{number} {Path(__file__).parent}".encode()
