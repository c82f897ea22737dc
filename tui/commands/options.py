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
Url = Annotated[str | None, typer.Option("--url", metavar="URL", help="A server of any kind; no configuration needed.")]
Model = Annotated[
    str | None, typer.Option("--model", "-m", metavar="MODEL", help="The model's name; FILE.gguf: run that file here.")
]
KeyVariable = Annotated[
    str | None, typer.Option("--api-key-env", metavar="NAME", help="Environment variable with the key for --url.")
]
Docs = Annotated[
    Path | None, typer.Option("--docs", metavar="FOLDER", help="Answer from these documents, with citations.")
]
Record = Annotated[
    Path | None, typer.Option("--record", metavar="FOLDER", help="Record every answer there, for the replay backend.")
]
KeyFile = Annotated[
    Path | None, typer.Option("--keys", metavar="FILE", help="The key file; default: the configuration's.")
]
