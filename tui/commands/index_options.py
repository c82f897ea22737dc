"""`llmchat index`: its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tui.commands.options import BackendName, Config
from tui.exit_codes import ExitCode
from tui.leaving import leave


def index(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder of documents, or one file.")],
    config: Config = None,
    backend: BackendName = None,
) -> None:
    """Read documents into the index that --docs FOLDER answers from: what is new or has changed.

    Markdown, text and HTML; PDF and Word (.docx) with pip install 'llmchat[docs]'. --docs does it by itself; this is
    to have it done before, and to see what could not be read.
    """

    def command() -> ExitCode:
        from tui.commands import index
        from tui.target import Target

        return index.run(Target(config, backend), folder)

    leave(command)
