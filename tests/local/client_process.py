"""A client of its own process: `python client_process.py SPEC SETTINGS` (JSON). Warms, says who answers, and waits.

It writes the child's process id as a line, then holds the lease until its standard input closes.
"""

from __future__ import annotations

import asyncio
import signal
import sys

import msgspec

from backends.backend import ChatRequest, Message
from backends.events import Done
from backends.local.launcher import Settings
from backends.local.spec import Spec
from backends.providers.local import Local


async def main() -> None:
    """Answer one question, then hold on."""
    spec = msgspec.json.decode(sys.argv[1], type=Spec)
    settings = msgspec.json.decode(sys.argv[2], type=Settings, dec_hook=lambda kind, value: kind(value))
    local = Local(spec, settings)
    events = [event async for event in local.stream(ChatRequest((Message("user", "hello"),), max_tokens=2))]
    assert isinstance(events[-1], Done), events
    link = local._link
    assert link is not None
    print(link.attachment.endpoint.pid, flush=True)
    closed = asyncio.Event()
    asyncio.get_running_loop().add_reader(0, closed.set)
    await closed.wait()
    await local.aclose()


signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are started with it ignored
asyncio.run(main())
