"""How a command ends: the boundary where every failure becomes one line and an exit code."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from tui.exit_codes import ExitCode, of_error

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def leave(command: Callable[[], ExitCode]) -> NoReturn:
    """Run `command` and leave with its exit code. The one place that catches everything: nobody sees a traceback."""
    try:
        _take_any_stream()
        code = command()
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = ExitCode.CANCELLED
    except BrokenPipeError:
        code = _unread()
    except SystemExit as ending:
        if not isinstance(ending.__context__, BrokenPipeError):  # rich makes one of the other
            raise
        code = _unread()
    except Exception as error:  # noqa: BLE001
        code = _reported(error)
    sys.exit(code)


def _take_any_stream() -> None:
    """Write what the caller's locale can write; where it has closed a stream, no file opened later becomes that."""
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: PTH123, SIM115  (open until the end)
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _unread() -> ExitCode:
    """Whoever read the output has closed it."""
    _abandon_output()
    return ExitCode.BROKEN_PIPE


def _abandon_output() -> None:
    """Let Python's last flush at exit succeed, where nothing can be written any more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _reported(error: Exception) -> ExitCode:
    """Tell what went wrong in one line on stderr. Called while `error` is being handled."""
    from backends.errors import BackendError

    if isinstance(error, OSError) and error.errno in _FULL:
        _abandon_output()
        print(f"llmchat: {error.filename or 'the output'} cannot be written: {error.strerror}", file=sys.stderr)
        return ExitCode.FAILED
    if isinstance(error, BackendError):
        print(f"llmchat: {error.message}", file=sys.stderr)
        return of_error(error.code)
    from tui import log_file

    what = f"{type(error).__name__}: {' '.join(str(error).split())}"
    print(f"llmchat: {log_file.redacted(what)}; {log_file.defect()}", file=sys.stderr)
    return ExitCode.DEFECT
