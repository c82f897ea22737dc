"""Who asks, as the guard found out; every handler reads it from the request's scope."""

from __future__ import annotations

import msgspec
from starlette.types import Scope

_KEY = "llmchat.caller"


class Caller(msgspec.Struct, frozen=True):
    """`arrived`: `time.perf_counter()` when the request came. `auth_ms`: what checking the key took; None: no check.

    `id` is that of the key, "" where everybody may ask; the limits are the key's. `owner` is whose streams this caller
    may read and cancel. `traceparent`: whose trace the request belongs to (w3.org/TR/trace-context), "" for nobody's.
    """

    arrived: float
    owner: bytes
    id: str = ""
    requests_per_minute: int = 0
    concurrency: int = 0
    auth_ms: float | None = None
    traceparent: str = ""


def note(scope: Scope, caller: Caller) -> None:
    """Put `caller` into the request's scope."""
    scope[_KEY] = caller


def caller_of(scope: Scope) -> Caller:
    """Who asks."""
    caller: Caller = scope[_KEY]
    return caller
