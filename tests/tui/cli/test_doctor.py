"""`llmchat doctor` as a person starts it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.fakes.gguf_model import write_model
from tests.tui.cli.conftest import Llmchat


def test_it_tells_what_is_here_and_what_fits(llmchat: Llmchat, tmp_path: Path) -> None:
    model = write_model(tmp_path / "m.gguf", context=4096)
    result = llmchat("doctor", "--model", model)
    assert result.returncode == 0, result.stdout + result.stderr
    for said in ("Python", "llama.cpp built with", "main memory", "configuration", "4 heads, 2 KV heads of 16", "q8_0"):
        assert said in result.stdout


def test_programs_get_the_same(llmchat: Llmchat) -> None:
    report = json.loads(llmchat("doctor", "--json").stdout)
    assert all(finding["ok"] for finding in report["findings"])
    assert report["model"]["fits"][0]["streams"] > 0  # of the demo model


def test_a_mistake_in_the_configuration_is_named_and_counts(llmchat: Llmchat, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("[ui]\nfsp = 3\n")
    result = llmchat("doctor", "--config", tmp_path / "c.toml")
    assert result.returncode == 1
    assert "! configuration" in result.stdout
    assert "did you mean 'fps'" in result.stdout


def test_a_model_that_cannot_be_read_is_a_finding(llmchat: Llmchat, tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"nothing")
    result = llmchat("doctor", "--model", tmp_path / "m.gguf")
    assert result.returncode == 1
    assert "cannot be read" in result.stdout
