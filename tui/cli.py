"""The `llmchat` command: its commands, in the order in which `--help` lists them.

The options of a command are in `tui/commands/NAME_options.py`, which imports nothing but typer; what the command does
is in `tui/commands/NAME.py`, imported when it is called.
"""

from __future__ import annotations

import typer

from tui.commands.ask_options import ask
from tui.commands.backends_options import backends
from tui.commands.bench_options import bench
from tui.commands.chat_options import chat
from tui.commands.conversations_options import conversations
from tui.commands.doctor_options import doctor
from tui.commands.explain_options import explain
from tui.commands.export_options import export
from tui.commands.index_options import index
from tui.commands.keys_options import keys
from tui.commands.serve_options import serve
from tui.commands.stats_options import stats
from tui.exit_codes import TABLE

app = typer.Typer(
    name="llmchat",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.callback(invoke_without_command=True)(chat)
app.command(epilog="\b\n" + TABLE)(ask)
app.command()(serve)
app.command()(index)
app.command()(backends)
app.command()(doctor)
app.command()(stats)
app.command()(explain)
app.add_typer(keys, name="keys")
app.add_typer(export, name="export")
app.add_typer(conversations, name="conversations")
app.add_typer(bench, name="bench", invoke_without_command=True)
