"""`llmchat backends`: its options."""

from __future__ import annotations

from typing import Annotated

import typer

from tui.commands.options import Config
from tui.exit_codes import ExitCode
from tui.leaving import leave


def backends(
    config: Config = None,
    models: Annotated[bool, typer.Option("--models", help="Ask each server which models it has.")] = False,
) -> None:
    """List the configured backends, whether each can be used, and what else runs on this machine."""

    def command() -> ExitCode:
        from tui.commands import backends
        from tui.target import Target

        return backends.run(Target(config=config), models)

    leave(command)
