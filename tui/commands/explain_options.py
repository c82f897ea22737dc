"""`llmchat explain`: its options."""

from __future__ import annotations

from typing import Annotated

import typer

from tui.commands.options import Config
from tui.exit_codes import ExitCode
from tui.leaving import leave


def explain(
    turn: Annotated[
        int | None, typer.Argument(metavar="TURN", help="Its number in llmchat stats; else the newest.")
    ] = None,
    config: Config = None,
    json: Annotated[bool, typer.Option("--json", help="The same for programs.")] = False,
) -> None:
    """Why an answer was slow: where its time went, what that was, and the next step."""

    def command() -> ExitCode:
        from tui.commands import explain
        from tui.target import Target

        return explain.run(Target(config=config), turn, json)

    leave(command)
