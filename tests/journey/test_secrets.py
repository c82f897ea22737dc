"""A key goes to its server and stands nowhere else: in no error, no JSON, no log, no traceback and no recording."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from tests.fakes.http_server import Request, Script, event_stream, http_server, response
from tests.fakes.openai_server import chunk, data, models
from tests.journey.home import environment

KEY = "sk-live-0123456789abcdef"
HEADER = "team-token-9876543210"
SECRETS = (KEY, HEADER, KEY[:20])
ROOT = Path(__file__).parents[2]

_DEFECT = """
import os, sys
from backends.foreign.reader import AnswerReader
def read(self, data, now):
    raise RuntimeError(f"no way with {os.environ['THE_KEY']}")
AnswerReader.read = read
from tui.__main__ import main
sys.argv[0] = "llmchat"
main()
"""


def repeating(request: Request) -> Script:
    """A server that says the key back, in another way for each model."""
    if request.method == "GET":
        return [response(body=models("fake"))]
    sent = json.dumps(request.headers)
    scripts: dict[str, Script] = {
        "refusal": [response(401, body=json.dumps({"error": {"message": f"wrong: {sent}"}}).encode())],
        "plain": [response(500, "text/plain", sent.encode())],
        "html": [response(502, "text/html", f"<title>{sent}</title>".encode())],
        "redirect": [response(307, headers=[f"location: http://127.0.0.1:9/?key={KEY}"])],
        "garbage": [f"HTTP/1.1 200 OK\r\nno header {sent}\r\n\r\n".encode()],
        "type": [response(200, f"text/{KEY}", sent.encode())],
        "error": event_stream(chunk({"content": "a"}), data(json.dumps({"error": {"message": sent}}))),
        "malformed": event_stream(chunk({"content": "a"}), data(f"{KEY} {sent}")),
        "defect": event_stream(data("{}")),
    }
    return scripts[json.loads(request.body)["model"]]


async def outputs(folder: Path, url: str, model: str) -> tuple[str, dict[str, str]]:
    """What `llmchat ask` prints with everything switched on, and every file that it leaves."""
    home = folder / model
    home.mkdir()
    table = f"""
[backends.a]
type = "openai"
url = "{url}"
model = "{model}"
api_key_env = "THE_KEY"
headers = {{"X-Auth-Token" = "{HEADER}"}}
"""
    (home / "config.toml").write_text(table)
    start = ["-c", _DEFECT] if model == "defect" else ["-m", "tui"]
    arguments = ["ask", "--config", "config.toml", "--backend", "a", "--json", "--stats", "--record", "tape", "hi"]
    with environment(home) as variables:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *start,
            *arguments,
            cwd=home,
            env=variables | {"THE_KEY": KEY, "PYTHONPATH": str(ROOT)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        printed, _ = await process.communicate()
    (home / "config.toml").unlink()  # the one place where the header may stand
    files = {path.name: path.read_bytes().decode("latin-1") for path in home.rglob("*") if path.is_file()}
    return printed.decode(), files


async def test_no_output_has_it(tmp_path: Path) -> None:
    names = ("refusal", "plain", "html", "redirect", "garbage", "type", "error", "malformed", "defect")
    async with http_server(repeating) as server, asyncio.timeout(120):
        runs = [outputs(tmp_path, server.url, name) for name in names]
        found = dict(zip(names, await asyncio.gather(*runs), strict=True))

    asked = [request for request in server.requests if request.method == "POST"]
    assert len(asked) >= len(names)
    assert all(request.headers["authorization"] == f"Bearer {KEY}" for request in asked)
    for name, (printed, files) in found.items():
        last = json.loads([line for line in printed.splitlines() if line.startswith("{")][-1])
        assert last["event"] == "error", printed
        assert name == "defect" or "***" in printed, printed
        for secret in SECRETS:
            assert secret not in printed, (name, printed)
            assert not [file for file, text in files.items() if secret in text], name
    log = found["defect"][1]["llmchat.log"]
    assert "RuntimeError: no way with ***" in log
    assert any(name.endswith(".jsonl") for name in found["error"][1])
