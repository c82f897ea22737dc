"""The `llmchat` command; `python -m tui` is the same."""

from __future__ import annotations

import sys

from tui.exit_codes import ExitCode
from tui.leaving import leave


def main() -> None:
    """The console script. Most often there is nothing to parse: then not even typer is imported, nor its pydantic."""
    if len(sys.argv) > 1:
        from tui.cli import app

        app()
    leave(_chat)


def _chat() -> ExitCode:
    from tui.commands import chat
    from tui.target import Target

    return chat.run(Target(), resume=False)


if __name__ == "__main__":
    main()
