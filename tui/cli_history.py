"""The commands about what was: `llmchat stats`, `explain`, `export` and `conversations`.

What a command needs is imported when it is called.
"""

from __future__ import annotations

from typing import Annotated

import typer

from tui.cli_options import BackendName, Config, Output
from tui.exit_codes import ExitCode
from tui.leaving import leave


def add_to(app: typer.Typer) -> None:
    """Make them commands of `app`."""
    app.command()(stats)
    app.command()(explain)
    app.add_typer(export, name="export")
    app.add_typer(conversations, name="conversations")


def stats(
    config: Config = None,
    backend: BackendName = None,
    model: Annotated[str, typer.Option("--model", "-m", metavar="MODEL", help="Only this model's turns.")] = "",
    feature: Annotated[str, typer.Option("--feature", metavar="NAME", help="Only this feature's.")] = "",
    last: Annotated[str, typer.Option("--last", metavar="TIME", help="Only those of the last 30m, 24h, 7d, 2w.")] = "",
    by: Annotated[
        list[str] | None, typer.Option("--by", metavar="WHAT", help="backend, model, feature or day; may be repeated.")
    ] = None,
    slowest: Annotated[int, typer.Option("--slowest", min=0, metavar="N", help="Waterfalls of so many.")] = 3,
    json: Annotated[bool, typer.Option("--json", help="Everything as one JSON object.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="One line a group.")] = False,
    plot: Annotated[bool, typer.Option("--plot", help="Plots, too (pip install 'llmchat[plots]').")] = False,
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 where a threshold is broken.")] = False,
) -> None:
    """What all answers took: percentiles, rates, goodput, the slowest; --check for cron and CI."""

    def command() -> ExitCode:
        from tui.commands import stats
        from tui.target import Target

        asked = stats.StatsRequest(last, model, feature, by or (), slowest, json, csv, plot, check)
        return stats.run(Target(config=config, backend=backend), asked)

    leave(command)


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


export = typer.Typer(help="Turns for other programs: nothing of what was said.", rich_markup_mode=None)

Last = Annotated[str, typer.Option("--last", metavar="TIME", help="Only the turns of the last 30m, 24h, 7d, 2w.")]


@export.command("trace")
def export_trace(
    turn: Annotated[int | None, typer.Argument(metavar="TURN", help="Its number; else the newest.")] = None,
    config: Config = None,
    output: Output = None,
) -> None:
    """One turn as a trace for ui.perfetto.dev or chrome://tracing."""

    def command() -> ExitCode:
        from tui.commands import export
        from tui.target import Target

        return export.trace(Target(config=config), turn, output)

    leave(command)


@export.command("jsonl")
def export_jsonl(
    config: Config = None,
    backend: BackendName = None,
    last: Last = "",
    output: Output = None,
    schema: Annotated[bool, typer.Option("--schema", help="The JSON Schema of a line, instead.")] = False,
) -> None:
    """Every turn as a line of JSON: numbers, stages, critical path, when each token came."""

    def command() -> ExitCode:
        from tui.commands import export
        from tui.target import Target

        return export.jsonl(Target(config=config, backend=backend), last, output, schema)

    leave(command)


@export.command("otlp")
def export_otlp(
    endpoint: Annotated[str, typer.Argument(metavar="URL", help="A collector: http://localhost:4318")],
    config: Config = None,
    backend: BackendName = None,
    last: Last = "",
) -> None:
    """Send turns to an OpenTelemetry collector as GenAI spans and metrics (pip install 'llmchat[otel]')."""

    def command() -> ExitCode:
        from tui.commands import export
        from tui.target import Target

        return export.otlp(Target(config=config, backend=backend), endpoint, last)

    leave(command)


conversations = typer.Typer(help="What was said: list, search, show, export, rename, delete.", rich_markup_mode=None)

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
