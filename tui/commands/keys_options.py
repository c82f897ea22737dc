"""`llmchat keys`: its commands and their options."""

from __future__ import annotations

from typing import Annotated

import typer

from tui.commands.options import Config, KeyFile
from tui.exit_codes import ExitCode
from tui.leaving import leave

keys = typer.Typer(help="The API keys of `llmchat serve`.", rich_markup_mode=None, no_args_is_help=True)


@keys.command("add")
def keys_add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose key it is.")],
    file: KeyFile = None,
    config: Config = None,
    requests_per_minute: Annotated[
        int, typer.Option("--rpm", min=0, metavar="N", help="Requests a minute, at most; 0: the configuration's.")
    ] = 0,
    concurrency: Annotated[
        int, typer.Option("--concurrency", min=0, metavar="N", help="Answers at a time; 0: the configuration's.")
    ] = 0,
) -> None:
    """Make a key and show it, this once: only its hash is kept."""

    def command() -> ExitCode:
        from tui.commands import keys

        return keys.add(keys.path_of(file, config), name, requests_per_minute, concurrency)

    leave(command)


@keys.command("list")
def keys_list(file: KeyFile = None, config: Config = None) -> None:
    """List the keys: id, day, name, limits."""

    def command() -> ExitCode:
        from tui.commands import keys

        return keys.show(keys.path_of(file, config))

    leave(command)


@keys.command("revoke")
def keys_revoke(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name or id.")],
    file: KeyFile = None,
    config: Config = None,
) -> None:
    """Take a key away. A server that runs refuses it from then on."""

    def command() -> ExitCode:
        from tui.commands import keys

        return keys.revoke(keys.path_of(file, config), name)

    leave(command)
