"""A request's turns, as any server takes them. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from backends.backend import ChatRequest, Sampling
from backends.errors import BackendError, Code

Turn = dict[str, str]


GO_ON = "Go on with your last answer exactly where it stops. Repeat nothing of it and write nothing around the rest."
"""What is said to a model that would begin a new turn after its own."""


def turns(request: ChatRequest, *, prefill: bool = True) -> list[Turn]:
    """``{"role", "content"}`` of every message, and of the answer that is to be gone on with.

    `prefill`: whether the server goes on with a trailing answer by itself; else it is asked to, in words. Sources of
    earlier turns, which another backend answered from documents, are put into their turn's text.
    """
    messages = request.messages
    if any(message.sources for message in messages):
        from backends.rag.assemble import plain_messages

        messages = plain_messages(messages, rules=False)
    found = [{"role": message.role, "content": message.content} for message in messages]
    if request.continue_from:
        found.append({"role": "assistant", "content": request.continue_from})
        if not prefill:
            found.append({"role": "user", "content": GO_ON})
    return found


def named(sampling: Sampling, names: dict[str, str], server: str, besides: Iterable[str] = ()) -> dict[str, object]:
    """What `sampling` sets, by the server's names for it (ours -> the server's); `besides` is said elsewhere.

    Raises BackendError (BAD_REQUEST) for what `server` does not know: an answer drawn otherwise than asked is wrong.
    """
    fields: dict[str, object] = {}
    for name, value in msgspec.structs.asdict(sampling).items():
        if name in besides or value == getattr(Sampling(), name):
            continue
        if name not in names:
            raise BackendError(Code.BAD_REQUEST, f"sampling: {server} has no {name}; it has {', '.join(sorted(names))}")
        fields[names[name]] = value
    return fields
