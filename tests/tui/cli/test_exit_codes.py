"""Exit codes are total: every error code and every outcome has one; and the README tells them all."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from backends.errors import Code, http_code
from backends.events import Done, FinishReason
from backends.telemetry.timeline import Outcome, Timeline
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
        (Code.TIMEOUT_FIRST_TOKEN, ExitCode.UNAVAILABLE),
        (Code.TIMEOUT_IDLE, ExitCode.INTERRUPTED),
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


README = Path(__file__).parents[3].joinpath("README.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `(done|error)` \| (.*?) \| .*? \| (\d+) \|$", README, re.MULTILINE)


def told(event: str) -> dict[str, int]:
    """The exit code for each name in the README's table of `event`."""
    return {name: int(code) for kind, names, code in ROWS if kind == event for name in re.findall(r"`(.*?)`", names)}


def test_the_readme_lists_every_finish_reason_with_its_exit_code() -> None:
    def exit_code(reason: FinishReason) -> ExitCode:
        timeline = Timeline()
        timeline.add(Done(1, 1.0, reason), 1.0)
        return of_outcome(timeline.outcome)

    assert told("done") == {reason: exit_code(reason) for reason in get_args(FinishReason)}


def test_the_readme_lists_every_error_code_with_its_exit_code() -> None:
    rows = told("error")
    http = {name: code for name, code in rows.items() if name.startswith("HTTP_")}

    assert {name: code for name, code in rows.items() if name not in http} == {code: of_error(code) for code in Code}
    assert http.pop("HTTP_<status>") == of_error("HTTP_418")
    assert http == {name: of_error(name) for name in http}
    special = {http_code(status) for status in range(300, 600) if of_error(http_code(status)) != of_error("HTTP_418")}
    assert special == set(http)
