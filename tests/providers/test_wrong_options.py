"""Options that a provider refuses: before anything is opened, with file, line and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from backends import config, providers
from backends.errors import ConfigError


def refused(type_name: str, lines: str) -> str:
    file = config.parse(f'[backends.x]\ntype = "{type_name}"\n{lines}\n', Path("c.toml"))
    with pytest.raises(ConfigError) as caught:
        providers.check(file)
    return caught.value.message


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("n_batch = 2", "line 1: backends.x: n_batch 2 is smaller than max_streams 4: raise one or lower the other"),
        ('model = "some.gguf"\ndraft = "model"', 'draft is "model", but no draft_model is set: name one'),
        ("max_gap_ms = inf", "line 3: backends.x.max_gap_ms"),
        ("max_queue_ms = inf", "line 3: backends.x.max_queue_ms"),
        ("queue_timeout = {chat = inf}", "line 3: backends.x.queue_timeout.chat"),
        ('lora = [["a.gguf", nan]]', "line 3: backends.x.lora"),
    ],
)
def test_local_settings_that_the_engine_could_not_take(lines: str, says: str) -> None:
    assert says in refused("local", lines)


def test_the_demo_model_brings_its_draft_model() -> None:
    file = config.parse('[backends.x]\ntype = "local"\ndraft = "model"\n')
    assert "x" in providers.check(file)


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ('{a = "é"}', "headers: the value of a must be printable ASCII"),
        ('{a = "b\\nc"}', "headers: the value of a must be printable ASCII"),
        ('{"a b" = "c"}', "headers: 'a b' is no header's name"),
    ],
)
def test_headers_that_cannot_be_sent(headers: str, says: str) -> None:
    assert says in refused("openai", f'url = "http://there"\nheaders = {headers}')


def test_an_unknown_key_in_a_list_has_its_nearest_right_name() -> None:
    assert "did you mean 'model'?" in refused("route", 'over = [{backend = "demo", modle = "m"}]')
