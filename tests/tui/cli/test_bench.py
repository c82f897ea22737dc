"""`llmchat bench` as a person starts it, on a real engine with a tiny model."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from backends.bench.models import Shape, make
from tests.tui.cli.conftest import Llmchat
from tui.cli import app

TINY = Shape("tiny", 64, 2, 4, 2, 96, 1_200, context=16_384)


def test_a_load_on_the_engine_prints_the_table_and_keeps_the_numbers(llmchat: Llmchat, tmp_path: Path) -> None:
    model = make(TINY, tmp_path)
    load = ("--concurrency", "1,2", "--count", 3, "--warm-up", 0, "--prompt", "8-16", "--output", 5, "--plot")
    result = llmchat("bench", "--model", model, *load, "--json", tmp_path / "load.json", "--csv", tmp_path / "load.csv")
    assert result.returncode == 0, result.stderr
    assert "clients    answered" in result.stdout
    assert "TTFT, ms, over clients" in result.stdout
    kept = json.loads((tmp_path / "load.json").read_text())
    assert [[one["tokens"] for one in level["run"]["results"]] for level in kept["levels"]] == [[5, 5, 5], [5, 5, 5]]
    assert [line.split(",")[:3] for line in (tmp_path / "load.csv").read_text().splitlines()[1:]] == [
        ["clients", "1", "3"],
        ["clients", "2", "3"],
    ]
    result = llmchat("bench", "compare", tmp_path / "load.json", tmp_path / "load.json")
    assert result.returncode == 0, result.stderr
    assert "2 at a time" in result.stdout
    assert "fewer than 5 values beyond" in result.stdout


def test_the_engine_is_measured_through_http_without_a_rival(llmchat: Llmchat, tmp_path: Path) -> None:
    model = make(TINY, tmp_path)
    what = ("--only", "decode", "--repeats", 0.2, "--threads", 1, "--folder", tmp_path, "--json", tmp_path / "r.json")
    result = llmchat("bench", "engine", "--model", model, *what, PATH="")
    assert result.returncode == 0, result.stderr
    assert "There is no llama-server" in result.stderr
    assert "| decode, one stream, tok/s (n=2) |" in result.stdout
    assert list(json.loads((tmp_path / "r.json").read_text())["samples"]["bench-tiny-q8_0-1"]) == ["decode"]


def test_retrieval_is_measured_on_ones_own_documents(llmchat: Llmchat, tmp_path: Path) -> None:
    documents = tmp_path / "documents"
    documents.mkdir()
    (documents / "pets.md").write_text("# Pets\n\n## Cats\n\nCats sleep all day.\n\n## Dogs\n\nDogs bark at cats.\n")
    questions = tmp_path / "questions.json"
    questions.write_text(json.dumps([{"question": "Who barks?", "section": "Pets > Dogs", "expect": ["bark"]}]))
    result = llmchat("bench", "rag", "--docs", documents, "--questions", questions, "--json", tmp_path / "r.json")
    assert result.returncode == 0, result.stderr
    assert "| questions | words | 1 | 100.0% |" in result.stdout
    assert "Near-duplicates: " in result.stdout
    assert json.loads((tmp_path / "r.json").read_text())["questions"]["words"]["mrr"] == 1.0


def test_wrong_usage_says_what_would_be_right(home: dict[str, str], tmp_path: Path) -> None:
    environment = {"LLMCHAT_CONFIG": None, **home}
    own = tmp_path / "own.json"
    own.write_text("[]")
    for arguments, said in (
        (("bench", "--prompt", "many"), "16-256"),
        (("bench", "--feature", "magic"), "summarize"),
        (("bench", "--concurrency", "1,many"), "1,4,16"),
        (("bench", "--plot"), "several loads"),
        (("bench", "--json", tmp_path), "cannot be written"),
        (("bench", "compare", tmp_path / "none", tmp_path / "none"), "cannot be read"),
        (("bench", "engine", "--sizes", "XXL"), "T, S, M, P"),
        (("bench", "rag", "--docs", tmp_path), "belong together"),
        (("bench", "rag", "--docs", tmp_path, "--questions", own, "--misses", "none"), "--misses none: one of own"),
        (("bench", "engine", "--llama-server", tmp_path / "none"), "no such program"),
    ):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], env=environment)
        assert result.exit_code == 2, result.output
        assert said in result.stderr
