"""`llmchat conversations`: its commands and their options."""

from __future__ import annotations

from typing import Annotated

import typer

from tui.commands.options import Config, Output
from tui.exit_codes import ExitCode
from tui.leaving import leave

conversations = typer.Typer(help="What was said: list, search, write to a file, rename, delete.", rich_markup_mode=None)

Conversation = Annotated[
    str, typer.Argument(metavar="ID", help="As llmchat conversations list has it, or its beginning; or 'newest'.")
]


@conversations.command("list")
def conversations_list(
    words: Annotated[list[str] | None, typer.Argument(metavar="WORDS", help="Only where they were said.")] = None,
    config: Config = None,
    json: Annotated[bool, typer.Option("--json", help="The same for programs.")] = False,
) -> None:
    """All conversations, the newest first; with WORDS those in which they stand."""

    def command() -> ExitCode:
        from tui.commands import conversations
        from tui.target import Target

        return conversations.listing(Target(config=config), " ".join(words or ()), json)

    leave(command)


@conversations.command("show")
def conversations_show(
    id: Conversation = "newest",
    config: Config = None,
    json: Annotated[bool, typer.Option("--json", help="As JSON instead of Markdown.")] = False,
    output: Output = None,
) -> None:
    """One conversation as Markdown or JSON; with --output into a file."""

    def command() -> ExitCode:
        from tui.commands import conversations
        from tui.target import Target

        return conversations.export(Target(config=config), id, "json" if json else "markdown", output)

    leave(command)


@conversations.command("rename")
def conversations_rename(
    id: Conversation, title: Annotated[str, typer.Argument(metavar="TITLE")], config: Config = None
) -> None:
    """Give a conversation another title."""

    def command() -> ExitCode:
        from tui.commands import conversations
        from tui.target import Target

        return conversations.rename(Target(config=config), id, title)

    leave(command)


@conversations.command("delete")
def conversations_delete(
    id: Conversation,
    config: Config = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a conversation for good; what its answers took stays in the statistics."""

    def command() -> ExitCode:
        from tui.commands import conversations
        from tui.target import Target

        return conversations.delete(Target(config=config), id, yes)

    leave(command)
