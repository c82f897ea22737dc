"""Any backend on HTTP: the native SSE protocol (DESIGN.md, "Events"), and OpenAI's chat completions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from backends.backend import Backend

if TYPE_CHECKING:
    from backends.serve.models import Models


async def serve(
    backend: Backend,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    uds: str | None = None,
    token: str | None = None,
    models: Models | None = None,
    on_started: Callable[[str], None] | None = None,
    grace: float = 5.0,
    resume_grace: float = 10.0,
) -> None:
    """Answer with `backend` on `host`:`port` (0: any free one), or on the Unix socket `uds`, until SIGINT or SIGTERM.

    `models`: what clients of OpenAI's API may ask for; without it they get the backend's default by the name "llmchat".
    `on_started` gets the address to connect to: ``http://127.0.0.1:8000`` or ``unix:/path``. Streams that run at the
    end have `grace` seconds. One whose reader lost the connection waits `resume_grace` seconds for him. The caller
    keeps `backend` and closes it. Raises BackendError when the address is not to be had.
    """
    from backends.serve.app import create_app
    from backends.serve.models import Models
    from backends.serve.server import run

    app = create_app(
        backend,
        token=token,
        hosts=frozenset({host}),
        resume_grace=resume_grace,
        models=models or Models("llmchat"),
    )
    await run(app, host=host, port=port, uds=uds, on_started=on_started, grace=grace)
