"""`llmchat serve`: its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tui.commands.options import BackendName, Config, Docs, KeyFile, KeyVariable, Model, Url
from tui.exit_codes import ExitCode
from tui.leaving import leave


def serve(
    config: Config = None,
    backend: BackendName = None,
    url: Url = None,
    model: Model = None,
    api_key_env: KeyVariable = None,
    docs: Docs = None,
    host: Annotated[str, typer.Option("--host", metavar="HOST", help="Listen there.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, metavar="PORT", help="0: any free port.")] = 8080,
    uds: Annotated[Path | None, typer.Option("--uds", metavar="PATH", help="Listen on a Unix socket instead.")] = None,
    token_env: Annotated[
        str | None,
        typer.Option("--token-env", metavar="NAME", help="Environment variable with the token clients need."),
    ] = None,
    keys: KeyFile = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Let everybody in who reaches --host, without keys.")
    ] = False,
    resume_grace: Annotated[
        float,
        typer.Option(
            "--resume-grace",
            min=0.0,
            max=3600.0,
            metavar="SECONDS",
            help="How long a client that lost the connection can come back.",
        ),
    ] = 10.0,
    ray: Annotated[
        int | None, typer.Option("--ray", min=1, metavar="REPLICAS", help="So many engines on a Ray cluster.")
    ] = None,
    ray_gpus: Annotated[
        float, typer.Option("--ray-gpus", min=0.0, metavar="GPUS", help="With --ray: GPUs of each of them.")
    ] = 0.0,
) -> None:
    """Put a backend on HTTP, as a stream of server-sent events."""

    def command() -> ExitCode:
        from tui.commands import serve
        from tui.target import Target

        target = Target(config, backend, url, model, api_key_env, docs)
        on_ray = None if ray is None else serve.OnRay(ray, ray_gpus)
        return serve.run(target, serve.Listen(host, port, uds, token_env, keys, insecure), resume_grace, on_ray)

    leave(command)
