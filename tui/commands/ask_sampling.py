"""The sampling that `llmchat ask` was given on its command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from backends.backend import Sampling
from backends.errors import BackendError, Code


def read_sampling(
    temperature: float | None,
    seed: int | None,
    top_p: float | None,
    stop: Sequence[str],
    json_schema: Path | None,
    grammar: Path | None,
) -> Sampling:
    """Raises BackendError (CONFIG) for a file that cannot be read, or is no schema."""
    return Sampling(
        temperature=temperature,
        seed=seed,
        top_p=top_p,
        stop=tuple(stop),
        json_schema=_schema(json_schema) if json_schema else None,
        grammar=_read(grammar) if grammar else "",
    )


def _schema(path: Path) -> dict[str, Any]:
    try:
        return msgspec.json.decode(_read(path), type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as error:
        raise BackendError(Code.CONFIG, f"{path}: not a JSON schema: {error}") from None


def _read(path: Path) -> str:
    try:
        return path.expanduser().read_text("utf-8")
    except OSError as error:
        raise BackendError(Code.CONFIG, f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise BackendError(Code.CONFIG, f"{path}: not text in UTF-8") from None
