"""Exit codes are total: every error code and every outcome has one."""

from __future__ import annotations

from typing import get_args

import pytest

from backends.errors import Code, http_code
from backends.telemetry.timeline import Outcome
from tui.exit_codes import ExitCode, of_error, of_outcome


@pytest.mark.parametrize("code", Code)
def test_no_error_is_a_success(code: Code) -> None:
    assert of_error(code) not in (ExitCode.COMPLETE, ExitCode.TRUNCATED, ExitCode.CANCELLED)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (Code.CONFIG, ExitCode.USAGE),
        (Code.CONNECT, ExitCode.UNAVAILABLE),
        (Code.MODEL_LOAD, ExitCode.UNAVAILABLE),
        (http_code(503), ExitCode.UNAVAILABLE),
        (http_code(400), ExitCode.FAILED),
        (Code.TIMEOUT_IDLE, ExitCode.FAILED),
        (Code.INTERRUPTED, ExitCode.INTERRUPTED),
        (Code.INTERNAL, ExitCode.DEFECT),
        ("SOMETHING_NEW", ExitCode.FAILED),
    ],
)
def test_error_codes(code: str, expected: ExitCode) -> None:
    assert of_error(code) is expected


def test_outcomes() -> None:
    assert {of_outcome(outcome) for outcome in get_args(Outcome)} == {
        ExitCode.COMPLETE,
        ExitCode.TRUNCATED,
        ExitCode.CANCELLED,
        ExitCode.INTERRUPTED,
        ExitCode.FAILED,
    }
