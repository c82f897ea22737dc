"""How a command ends: the boundary where every failure becomes one line and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NoReturn

from tui.exit_codes import ExitCode, of_error


def leave(command: Callable[[], ExitCode]) -> NoReturn:
    """Run `command` and leave with its exit code. The one place that catches everything: nobody sees a traceback."""
    try:
        code = command()
    except KeyboardInterrupt:
        code = ExitCode.CANCELLED
    except Exception as error:  # noqa: BLE001
        code = _reported(error)
    sys.exit(code)


def _reported(error: Exception) -> ExitCode:
    """Tell what went wrong in one line on stderr. Called while `error` is being handled."""
    from backends.errors import BackendError

    if isinstance(error, BackendError):
        print(f"llmchat: {error.message}", file=sys.stderr)
        return of_error(error.code)
    from tui import log_file

    what = f"{type(error).__name__}: {' '.join(str(error).split())}"
    print(f"llmchat: {log_file.redacted(what)}; {log_file.defect()}", file=sys.stderr)
    return ExitCode.DEFECT
