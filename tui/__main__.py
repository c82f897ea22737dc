"""`python -m tui` is the `llmchat` command."""

from tui.cli import main

main()
