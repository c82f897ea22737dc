"""`llmchat doctor`: its options."""

from __future__ import annotations

from typing import Annotated

import typer

from tui.commands.options import BackendName, Config
from tui.exit_codes import ExitCode
from tui.leaving import leave


def doctor(
    config: Config = None,
    backend: BackendName = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", metavar="FILE.gguf", help="What of this model fits here.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="The same for programs.")] = False,
) -> None:
    """Versions, build, machine, configuration, folders, terminal; and what of a model fits into memory."""

    def command() -> ExitCode:
        from tui.commands import doctor
        from tui.target import Target

        return doctor.run(Target(config, backend, model=model), json)

    leave(command)
