"""The app with its last boundary: a defect closes it and is raised where `run` returns, not printed as a traceback."""

from __future__ import annotations

from tui.app import LlmChat


class DefectApp(LlmChat):
    """`defect` is the first exception that nobody handled; Textual's own handler would print it with all locals."""

    defect: Exception | None = None

    def _handle_exception(self, error: Exception) -> None:
        self.defect = self.defect or error
        self.panic()

    def run_to_end(self) -> int:
        """Run until the person quits; the return code. Raises `defect` if that ended the app."""
        self.run()
        if self.defect is not None:
            raise self.defect
        return self.return_code or 0
