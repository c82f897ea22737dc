"""Options that many commands share."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

_FOLDER = "~/Library/Application Support" if sys.platform == "darwin" else "~/.config"

Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="PATH", help=f"Default: $LLMCHAT_CONFIG, {_FOLDER}/llmchat/config.toml."),
]
BackendName = Annotated[str | None, typer.Option("--backend", metavar="NAME", help="A backend of the configuration.")]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Instead of stdout; readable by you alone.")
]
