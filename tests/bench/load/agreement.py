"""Whether `llmchat bench` says what guidellm says: both measure one server, in turn, which does the same for both.

Run as ``python -m tests.bench.load.agreement --guidellm VENV/bin/guidellm``. The server draws its pace from a cycle as
long as a round, so that each has the same requests whatever came before. By guidellm's words (docs/guides/metrics.md)
its `inter_token_latency_ms` is our TPOT, (last token - first) / (tokens - 1); its `time_per_output_token_ms` is not.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.bench.load.__main__ import paced_server
from tests.bench.load.paced_server import Pace

PERCENTS = ("p50", "p90", "p95", "p99")
_THEIRS = (("TTFT", "time_to_first_token_ms", 1.0), ("TPOT", "inter_token_latency_ms", 1.0))
_SECONDS = (("total", "request_latency", 1000.0),)


def ours(url: str, prompts: Path, count: int, clients: int, folder: Path) -> dict[str, float]:
    """Our figures."""
    kept = folder / "ours.json"
    options = ["--url", url, "--model", "paced", "--prompts", prompts, "--count", count, "--concurrency", clients]
    command = [sys.executable, "-m", "tui", "bench", *options, "--json", kept]
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)
    summary = json.loads(kept.read_text())["levels"][0]["summary"]
    found = {
        f"{name} {at.upper()}, ms": summary[name.lower()][at] for name in ("TTFT", "TPOT", "total") for at in PERCENTS
    }
    return found | {"answers/s": summary["requests_per_second"], "tokens/s": summary["tokens_per_second"]}


def theirs(guidellm: str, url: str, prompts: Path, count: int, clients: int, folder: Path) -> dict[str, float]:
    """guidellm's figures."""
    kept = folder / "theirs.json"
    command = [guidellm, "run", "--disable-console", "--backend", f"kind=openai_http,target={url[:-3]},model=paced"]
    command += ["--profile", f"kind=concurrent,streams={clients}", "--constraint", f"kind=max_requests,count={count}"]
    command += ["--data", f"kind=json_file,path={prompts}", "--output", f"kind=json,path={kept}"]
    offline = {"HF_HUB_OFFLINE": "1", "PYTHONPATH": ""}
    subprocess.run(command, check=True, env=os.environ | offline, capture_output=True)
    (benchmark,) = json.loads(kept.read_text())["benchmarks"]
    metrics: dict[str, Any] = benchmark["metrics"]
    found = {
        f"{name} {at.upper()}, ms": unit * metrics[field]["successful"]["percentiles"][at]
        for name, field, unit in (*_THEIRS, *_SECONDS)
        for at in PERCENTS
    }
    done = benchmark["requests"]["successful"]
    seconds = max(one["request_end_time"] for one in done) - min(one["request_start_time"] for one in done)
    tokens = sum(one["output_tokens"] for one in done)
    return found | {"answers/s": len(done) / seconds, "tokens/s": tokens / seconds}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--guidellm", required=True, help="its program, of an environment of its own")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--clients", type=int, default=8)
    wanted = parser.parse_args()
    pace = Pace((100.0, 500.0), (20.0, 30.0), 40, cycle=wanted.count)
    with tempfile.TemporaryDirectory() as name, paced_server(pace, []) as url:
        folder = Path(name)
        prompts = folder / "prompts.jsonl"
        prompts.write_text("".join(json.dumps({"prompt": f"question {n}"}) + "\n" for n in range(wanted.count)))
        mine = ours(url, prompts, wanted.count, wanted.clients, folder)
        others = theirs(wanted.guidellm, url, prompts, wanted.count, wanted.clients, folder)
    print(f"{wanted.count} requests, {wanted.clients} at a time{'llmchat':>12}{'guidellm':>12}{'ratio':>9}")
    for figure, value in mine.items():
        print(f"{figure:29}{value:>12,.2f}{others[figure]:>12,.2f}{value / others[figure]:>9.3f}")


if __name__ == "__main__":
    main()
