"""Any backend on HTTP: the native SSE protocol (DESIGN.md, "Events"), and OpenAI's chat completions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from backends.backend import Backend
from backends.beside import beside
from backends.config import Serve

if TYPE_CHECKING:
    from backends.serve.app import Public
    from backends.serve.guard import Access
    from backends.serve.reload import Reopened


async def serve(
    backend: Backend,
    settings: Serve | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    uds: str | None = None,
    access: Access | None = None,
    public: Public | None = None,
    on_started: Callable[[str], None] | None = None,
    reopen: Callable[[], Reopened] | None = None,
    grace: float = 5.0,
    resume_grace: float = 10.0,
) -> None:
    """Answer with `backend` on `host`:`port` (0: any free one), or on the Unix socket `uds`, until SIGINT or SIGTERM.

    `settings`: limits. `access`: who may use it; without it everybody who reaches it. `public`: its models and who
    watches. `on_started` gets the address to connect to: ``http://127.0.0.1:8000`` or ``unix:/path``. Streams that run
    at the end have `grace` seconds. One whose reader lost the connection waits `resume_grace` seconds for him. On
    SIGHUP `reopen`, if given, tells what is to serve from then on; streams that run stay with the former backend, which
    is closed after its last. The caller closes `backend` in any case. Raises BackendError when the address is not
    to be had or the certificate cannot be used.
    """
    import msgspec

    from backends.serve.app import Public, create_app
    from backends.serve.certificate import Certificate
    from backends.serve.guard import Access
    from backends.serve.reload import Reloading
    from backends.serve.retry import Retrying
    from backends.serve.server import run

    def named(access: Access) -> Access:
        return msgspec.structs.replace(access, hosts=access.hosts | {host})

    settings, public = settings or Serve(), public or Public()
    backend = Retrying(backend, settings.retries)
    app = create_app(backend, settings, access=named(access or Access()), resume_grace=resume_grace, public=public)
    tls = Certificate((settings.tls_cert, settings.tls_key)) if settings.tls_cert else None
    service = partial(run, app, host=host, port=port, uds=uds, tls=tls, on_started=on_started, grace=grace)
    if reopen is None:
        await service()
        return

    def reopened() -> Reopened:
        fresh = reopen()
        return msgspec.structs.replace(fresh, access=named(fresh.access))

    reloading = Reloading(app.state.service, backend, reopened, public.models, tls)
    async with beside(reloading.run()):
        await service(on_hangup=reloading.want)
