"""A page in a real browser, of another origin: fetch streams, EventSource resumes, DELETE cancels. Needs Chromium."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from backends.engine import Engine, EngineOptions
from backends.serve.guard import Access
from tests.engine.conftest import EXACT
from tests.fakes.gguf_model import write_model
from tests.fakes.http_server import Request, Script, http_server, response
from tests.serve.conftest import Start

PATIENCE = 60.0
PAGE = Path(__file__).with_name("page.html").read_bytes()
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@asynccontextmanager
async def browser(url: str, profile: Path) -> AsyncIterator[None]:
    """Chromium on `url`, without a window."""
    assert CHROMIUM is not None
    arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", f"--user-data-dir={profile}"]
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(CHROMIUM, *arguments, url, stdout=quiet, stderr=quiet)
    try:
        yield
    finally:
        process.terminate()
        await process.wait()


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt install chromium")
async def test_a_page(start: Start, tmp_path: Path) -> None:
    told: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

    def answer(request: Request) -> Script:
        if request.method == "POST":
            told.set_result(json.loads(request.body))
        return [response(content_type="text/html", body=PAGE if request.method == "GET" else b"")]

    model = write_model(tmp_path / "page.gguf", context=1024)
    engine = Engine(EngineOptions(**({"model": str(model)} | EXACT)))
    await engine.ready()
    async with http_server(answer) as pages:
        service = await start(engine, access=Access(origins=frozenset({pages.url})))
        async with browser(f"{pages.url}/?service={service.url}", tmp_path / "profile"):
            found = await asyncio.wait_for(told, PATIENCE)
    await engine.aclose()

    assert len(found["whole"]) > 40
    assert found["resumed"] == found["whole"]
    assert (found["end"], found["cancelled"]) == ("length", "cancelled")
