"""Alert rules and dashboard: on metrics that there are, and as promtool would have them (Debian: prometheus)."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from backends.config import Config
from backends.serve.metrics import FIRST_TOKEN, PER_TOKEN, STAGE, Metrics
from backends.serve.streams import Streams

FOLDER = Path(__file__).parents[2] / "backends" / "serve" / "monitoring"
RULES = FOLDER / "alerts.yml"
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text())
EXPRESSIONS = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]

needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool: apt install prometheus")


def names(text: str) -> set[str]:
    """The metrics that are named, without what a histogram's or counter's name ends with."""
    found = set(re.findall(r"\bllmchat_\w+", text))
    return {re.sub(r"_(bucket|sum|count|total)\Z", "", name) for name in found}


def test_they_name_what_there_is() -> None:
    page = Metrics(Streams(1.0), Config().budget).page().decode()
    told = {line.split()[2].removesuffix("_total") for line in page.splitlines() if line.startswith("# TYPE")}
    told |= {"llmchat_kv_cells", "llmchat_kv_cells_used"}  # there as soon as a backend has told
    rules = "\n".join(re.findall(r"expr: (?:>-\n)?((?:.|\n)*?)\n +for:", RULES.read_text()))
    assert len(names(rules)) >= 6
    assert names(rules) <= told
    assert names("\n".join(EXPRESSIONS)) == told


def test_the_thresholds_are_borders_of_buckets() -> None:
    """Otherwise a quantile near one of them is a guess."""
    assert {2.0, 5.0} <= set(FIRST_TOKEN)
    assert {1 / 20, 1 / 5} <= set(PER_TOKEN)
    assert 2.0 in STAGE


@needs_promtool
def test_the_rules_fire_when_they_should() -> None:
    checked = subprocess.run(
        ["promtool", "test", "rules", Path(__file__).parent / "alerts_test.yml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


@needs_promtool
def test_the_dashboards_expressions_are_valid(tmp_path: Path) -> None:
    rules = [{"record": f"x:{place}", "expr": expression} for place, expression in enumerate(EXPRESSIONS)]
    file = tmp_path / "rules.yml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))  # YAML has all of JSON
    checked = subprocess.run(["promtool", "check", "rules", file], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
