"""What the shell is told. The same codes everywhere; `llmchat ask --help` prints this table."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backends.telemetry.timeline import Outcome


class ExitCode(IntEnum):
    """Exit codes; 2, 70 (sysexits.h), and 128 + signal number are conventions of the shell."""

    COMPLETE = 0
    FAILED = 1
    USAGE = 2
    TRUNCATED = 3
    INTERRUPTED = 4
    UNAVAILABLE = 5
    DEFECT = 70
    HUNG_UP = 129
    CANCELLED = 130
    BROKEN_PIPE = 141
    TERMINATED = 143


TABLE = """\
Exit codes:
  0    the answer is complete
  1    the backend failed, or refused the request
  2    wrong usage or configuration
  3    the answer was truncated at its token limit
  4    the answer was interrupted: it ended too early or took too long
  5    the backend cannot be reached, cannot start, or is busy
  70   a defect of llmchat; its log file has the details
  129  the terminal was closed (SIGHUP)
  130  cancelled with Ctrl-C
  141  whoever read the output closed it (| head)
  143  cancelled with SIGTERM"""

_USAGE = {"CONFIG"}
_UNAVAILABLE = {
    *("CONNECT", "TLS", "TIMEOUT_CONNECT", "TIMEOUT_FIRST_TOKEN", "TIMEOUT_STAGE", "OVERLOADED", "SHUTDOWN"),
    *("ENGINE_MISSING", "MODEL_LOAD"),
    *("HTTP_429", "HTTP_502", "HTTP_503", "HTTP_504", "HTTP_529"),
}
_INTERRUPTED = {"INTERRUPTED", "TIMEOUT_IDLE", "TIMEOUT_TOTAL"}
_OF_OUTCOME: dict[Outcome, ExitCode] = {
    "complete": ExitCode.COMPLETE,
    "truncated": ExitCode.TRUNCATED,
    "cancelled": ExitCode.CANCELLED,
    "interrupted": ExitCode.INTERRUPTED,
    "running": ExitCode.INTERRUPTED,
    "failed": ExitCode.FAILED,
}


def of_error(code: str) -> ExitCode:
    """The exit code for an error code of `backends.errors`."""
    if code in _USAGE:
        return ExitCode.USAGE
    if code in _UNAVAILABLE:
        return ExitCode.UNAVAILABLE
    if code in _INTERRUPTED:
        return ExitCode.INTERRUPTED
    return ExitCode.DEFECT if code == "INTERNAL" else ExitCode.FAILED


def of_outcome(outcome: Outcome) -> ExitCode:
    """The exit code for the way in which an answer ended; for "failed" its error's code says more."""
    return _OF_OUTCOME[outcome]
