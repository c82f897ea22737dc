"""`llmchat stats` on a history of known turns: TTFT 100, 200, ... 3,000 ms, every third from another backend."""

from __future__ import annotations

import csv
import io
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from backends.events import Done, Meta, Token
from backends.telemetry.stages import Span
from backends.telemetry.timeline import Asked, Timeline
from backends.telemetry.turns import numbers_of
from tests.tui.cli.conftest import Llmchat
from tui.commands.stats import window
from tui.history.history import History


def told(ttft: float, backend: str = "box") -> Timeline:
    timeline = Timeline(asked=Asked(backend))
    timeline.add(Meta("m", ttft, prompt_tokens=2_000, cached_tokens=500, spans=(Span("prefill", 1.0, ttft - 2),)), ttft)
    timeline.add(Token("a"), ttft)
    timeline.add(Token("b"), ttft + 10)
    timeline.add(Done(2, ttft + 12), ttft + 12)
    return timeline


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "history.sqlite"
    history = History(path)
    for number in range(30):
        timeline = told(100.0 + 100 * number, "box" if number % 3 else "paid")
        history.add_turn(None, numbers_of(timeline, time.time() - 86_400 * (number % 2)), timeline.dump())
    history.close()
    file = tmp_path / "config.toml"
    file.write_text(f'[history]\npath = "{path}"\n')
    return str(file)


def test_the_table_has_all_groups_the_slowest_and_what_is_alarming(llmchat: Llmchat, config: str) -> None:
    result = llmchat("stats", "--config", config, "--slowest", "1", "--plot")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    head, everything = lines[0].split(), lines[1].split()
    assert head[:4] == ["turns", "TTFT", "P50", "P95"]
    assert everything[:6] == ["all", "30", "1.55", "s", "2.85", "s"]
    assert [line.split()[:2] for line in lines if line.startswith(("box", "paid"))] == [["box", "20"], ["paid", "10"]]
    assert "prefill" in result.stdout
    assert "TTFT 3.0 s: 100 % prefill of 2,000 tokens, 500 cached" in result.stdout
    assert "TTFT by day" in result.stdout


def test_programs_get_it_as_json_and_csv(llmchat: Llmchat, config: str) -> None:
    found = json.loads(llmchat("stats", "--config", config, "--json", "--backend", "box", "--slowest", "2").stdout)
    assert found["overall"]["turns"] == 20
    assert found["overall"]["ttft"]["p50"] == 1600
    assert [turn["ttft"] for turn in found["slowest"]] == [3000, 2900]
    assert found["overall"]["cached_share"] == 0.25
    rows = list(csv.DictReader(io.StringIO(llmchat("stats", "--config", config, "--csv", "--by", "day").stdout)))
    assert [row["dimension"] for row in rows] == ["all", "day", "day"]
    assert sum(int(row["turns"]) for row in rows[1:]) == 30
    assert rows[0]["ttft_p99_ms"] == "2971.0"


def test_a_broken_threshold_is_told_by_the_exit_code(llmchat: Llmchat, config: str) -> None:
    path = Path(config).parent / "history.sqlite"
    assert llmchat("stats", "--config", config, "--check").returncode == 0
    history = History(path)
    for _ in range(4):
        timeline = Timeline(asked=Asked("box"))
        timeline.end("cancelled", 30.0)
        history.add_turn(None, numbers_of(timeline, time.time()), timeline.dump())
    history.close()
    result = llmchat("stats", "--config", config, "--check")
    assert (result.returncode, result.stderr) == (1, "llmchat: cancel rate 11.8 %, above 10 %\n")
    few = llmchat("stats", "--config", config, "--check", "--backend", "nobody")
    assert (few.returncode, few.stderr) == (0, "llmchat: 0 turns are too few to judge (20)\n")


def test_without_a_history_nothing_is_made(llmchat: Llmchat, tmp_path: Path) -> None:
    result = llmchat("stats")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("no turns yet")
    assert not list(tmp_path.rglob("*.sqlite"))


def test_wrong_usage_is_named(llmchat: Llmchat) -> None:
    result = llmchat("stats", "--by", "colour")
    assert (result.returncode, result.stderr) == (2, "llmchat: --by colour: one of backend, model, feature, day\n")


@pytest.mark.parametrize(("text", "seconds"), [("30m", 1800), ("24h", 86_400), ("7d", 604_800), ("2w", 1_209_600)])
def test_windows(text: str, seconds: float) -> None:
    assert window(text) == seconds


def test_a_turn_is_explained(llmchat: Llmchat, config: str) -> None:
    result = llmchat("explain", "30", "--config", config)
    assert result.returncode == 0, result.stderr
    words = " ".join(result.stdout.split())
    assert "TTFT 3.0 s, above its budget of 500 ms" in words
    assert "1. 3.0 s: reading 1,500 of 2,000 prompt tokens at 500 tokens/s, 500 cached" in words
    assert "→" in words
    newest = json.loads(llmchat("explain", "--config", config, "--json").stdout)
    assert newest["turn"]["id"] == 30
    missing = llmchat("explain", "77", "--config", config)
    assert (missing.returncode, missing.stderr) == (2, "llmchat: there is no turn 77: see llmchat stats\n")


def test_turns_are_exported(llmchat: Llmchat, config: str, tmp_path: Path) -> None:
    result = llmchat("export", "jsonl", "--config", config, "--backend", "box", "--output", tmp_path / "turns.jsonl")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    lines = (tmp_path / "turns.jsonl").read_text().splitlines()
    assert len(lines) == 20
    assert {json.loads(line)["numbers"]["backend"] for line in lines} == {"box"}
    assert (tmp_path / "turns.jsonl").stat().st_mode & 0o777 == 0o600
    traced = json.loads(llmchat("export", "trace", "30", "--config", config).stdout)
    assert any(event["name"] == "prefill" for event in traced["traceEvents"])
    assert json.loads(llmchat("export", "jsonl", "--schema").stdout)["$defs"]["TurnRecord"]


def test_turns_are_sent_to_a_collector(llmchat: Llmchat, config: str) -> None:
    """What arrives there is tested in tests/telemetry/test_otel.py; here, that every turn went out."""
    received: list[str] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            received.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            result = llmchat("export", "otlp", f"http://127.0.0.1:{server.server_port}", "--config", config)
        finally:
            server.shutdown()
            thread.join()
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("30 turns")
    assert {"/v1/traces", "/v1/metrics"} <= set(received)
