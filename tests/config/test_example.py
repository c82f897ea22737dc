"""config.example.toml explains every key that there is, and nothing else."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from backends import config, providers
from backends.config import Budget, Budgets, Config, History, Serve, ServeTimeouts, Ui
from backends.sse.timeouts import Timeouts

EXAMPLE = Path(__file__).parents[2] / "config.example.toml"
TEXT = EXAMPLE.read_text("utf-8")
UNCOMMENTED = re.sub(r"^#(?=[\[a-z])", "", TEXT, flags=re.MULTILINE)


def fields(kind: type[msgspec.Struct]) -> set[str]:
    return set(kind.__struct_encode_fields__)


def test_as_it_stands_it_changes_nothing() -> None:
    assert config.parse(TEXT).config == config.parse("").config


def test_without_the_comment_signs_every_key_is_accepted() -> None:
    file = config.parse(UNCOMMENTED, EXAMPLE)
    assert len(providers.check(file)) == 11
    assert {backend["type"] for backend in file.config.backends.values()} == set(providers.types())


def test_every_general_key_is_in_it() -> None:
    table = tomllib.loads(UNCOMMENTED)
    assert set(table) == fields(Config)
    assert set(table["ui"]) == fields(Ui)
    assert set(table["history"]) == fields(History)
    assert set(table["budgets"]) == fields(Budgets)
    assert set(table["budgets"]["chat"]) == fields(Budget)
    assert set(table["serve"]) == fields(Serve)
    assert set(table["serve"]["timeouts"]) == fields(ServeTimeouts)


@pytest.mark.parametrize("type_name", providers.types())
def test_every_key_of_every_provider_is_in_it(type_name: str) -> None:
    file = config.parse(UNCOMMENTED, EXAMPLE)
    options = providers.check(file)
    name = next(name for name, table in tomllib.loads(UNCOMMENTED)["backends"].items() if table["type"] == type_name)
    table = file.config.backends[name]
    assert set(table) - {"type"} == fields(type(options[name]))
    if "timeouts" in table:
        assert set(table["timeouts"]) == fields(Timeouts)


def test_what_it_shows_as_defaults_are_the_defaults() -> None:
    file = config.parse(UNCOMMENTED)
    assert file.config.ui == Ui()
    assert file.config.budgets == Budgets()
    assert file.config.serve == Serve()
    for name, options in providers.check(file).items():
        kind = type(options)
        for field in msgspec.structs.fields(kind):
            if field.name in ("model", "documents", "timeouts", "extra_body", "path") or field.required:
                continue
            default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
            assert getattr(options, field.name) == default, (name, field.name)
