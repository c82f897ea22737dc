"""The app as a process: a defect or a signal closes it in good order.

A defect is raised where `run` returns, and not printed as a traceback.
"""

from __future__ import annotations

import asyncio
import signal

from tui import garbage
from tui.app import LlmChat
from tui.exit_codes import ExitCode


class DefectApp(LlmChat):
    """`defect` is the first exception that nobody handled; Textual's own handler would print it with all locals."""

    defect: Exception | None = None

    def on_load(self) -> None:
        """Textual's hook. A SIGTERM gives the terminal back first; a SIGHUP is the terminal's own end."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.exit, None, ExitCode.TERMINATED)
        loop.add_signal_handler(signal.SIGHUP, self.exit, None, ExitCode.HUNG_UP)

    def on_ready(self) -> None:
        """Textual's hook."""
        self.call_after_refresh(garbage.settle)

    def _handle_exception(self, error: Exception) -> None:
        self.defect = self.defect or error
        self.panic()

    def run_to_end(self) -> int:
        """Run until the person quits; the return code. Raises `defect` if that ended the app."""
        self.run()
        if self.defect is not None:
            raise self.defect
        return self.return_code or 0
