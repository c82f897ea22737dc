"""`llmchat stats`: its options."""

from __future__ import annotations

from typing import Annotated

import typer

from tui.commands.options import BackendName, Config
from tui.exit_codes import ExitCode
from tui.leaving import leave


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
