"""What runs on this machine is found by its port, and without a key."""

from __future__ import annotations

from urllib.parse import urlsplit

from backends.foreign.nearby import find
from tests.fakes.http_server import http_server, response
from tests.fakes.ollama_server import ollama_server
from tests.fakes.openai_server import openai_server


async def test_servers_are_found_and_what_is_none_is_passed_over() -> None:
    async with (
        ollama_server() as ollama,
        openai_server() as openai,
        http_server(lambda _: [response(200, "text/html", b"<html>a web page</html>")]) as page,
    ):
        ports = tuple(urlsplit(server.url).port or 0 for server in (ollama, page, openai))
        found = await find((*ports, 1))

    assert [(each.url, each.dialect.type) for each in found] == [(ollama.url, "ollama"), (openai.url, "openai")]
    assert not any("authorization" in request.headers for request in ollama.requests + openai.requests)
