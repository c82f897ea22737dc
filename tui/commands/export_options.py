"""`llmchat export`: its commands and their options."""

from __future__ import annotations

from typing import Annotated

import typer

from tui.commands.options import BackendName, Config, Output
from tui.exit_codes import ExitCode
from tui.leaving import leave

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
