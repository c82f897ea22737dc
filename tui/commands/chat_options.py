"""`llmchat` without a command: its options."""

from __future__ import annotations

from typing import Annotated

import typer

from tui.commands.options import BackendName, Config, Docs, KeyVariable, Model, Record, Url
from tui.exit_codes import ExitCode
from tui.leaving import leave


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"llmchat {version('llmchat')}")
        raise typer.Exit


def chat(
    context: typer.Context,
    config: Config = None,
    backend: BackendName = None,
    url: Url = None,
    model: Model = None,
    api_key_env: KeyVariable = None,
    docs: Docs = None,
    record: Record = None,
    resume: Annotated[bool, typer.Option("--continue", "-c", help="Go on with the newest conversation.")] = False,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """Chat with a language model, and see where the time goes.

    Without a command: the chat, on the embedded demo model unless told otherwise.
    """
    given = (config, backend, url, model, api_key_env, docs, record)
    if context.invoked_subcommand is not None:
        if resume or any(value is not None for value in given):
            raise typer.BadParameter(f"options belong behind the command: llmchat {context.invoked_subcommand} --...")
        return

    def command() -> ExitCode:
        from tui.commands import chat
        from tui.target import Target

        return chat.run(Target(*given), resume)

    leave(command)
