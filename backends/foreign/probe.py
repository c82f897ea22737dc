"""Asks a server what it is. No key and no text ever goes out with these questions."""

from __future__ import annotations

import asyncio

import msgspec

from backends.errors import BackendError
from backends.foreign.dialect import QUESTIONS, UNKNOWN, Dialect, Reply, by_replies
from backends.sse.address import Address
from backends.sse.network import Network
from backends.sse.remote import Remote
from backends.sse.timeouts import Timeouts

WAIT = 3.0
"""Seconds that a server is given to answer."""


async def ask(address: Address, wait: float = WAIT, network: Network | None = None) -> Dialect:
    """The dialect of the server at `address`, reached as `network` says; `UNKNOWN` where its answers tell nothing.

    Raises BackendError when nobody answers there at all.
    """
    remote = Remote(address, timeouts=Timeouts(connect=wait, first_token=wait), network=network)
    try:
        await remote.client()
        async with asyncio.TaskGroup() as group:
            tasks = {path: group.create_task(_reply(remote, path)) for path in QUESTIONS}
        answers = {path: task.result() for path, task in tasks.items()}
    finally:
        await remote.aclose()
    replies = {path: answer for path, answer in answers.items() if isinstance(answer, Reply)}
    if not replies:
        raise next(answer for answer in answers.values() if isinstance(answer, BackendError))
    return by_replies(replies) or UNKNOWN


async def _reply(remote: Remote, path: str) -> Reply | BackendError:
    try:
        response, content = await (await remote.client()).exchange("GET", path)
    except BackendError as error:
        return error
    try:
        return Reply(response.status_code, msgspec.json.decode(content))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Reply(response.status_code)
