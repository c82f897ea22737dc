"""What comes in is checked, and refused in words."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backends.serve.guard import Access
from backends.serve.replies import Refusal
from backends.serve.requests import Disconnected, read_chat
from tests.fakes.scripted import Scripted, answer
from tests.serve.conftest import CHAT, Start

JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"[" * 100_000, "Expected `object`"),
        (b'"text"', "Expected `object`"),
        (b"{}", "missing required field `messages`"),
        (b'{"messages": [{"role": "robot", "content": "x"}]}', "$.messages[0].role"),
        (b'{"messages": [{"role": "user", "content": 5}]}', "$.messages[0].content"),
        (b'{"messages": [{"role": "user", "content": "x"}], "max_tokens": 0}', "`max_tokens` is 0"),
        (b'{"messages": [{"role": "user", "content": "x"}], "temprature": 1}', "temprature"),
        (b'{"messages": [{"role": "user", "content": "\xff"}]}', "not valid JSON"),
    ],
    ids=range(10),
)
@pytest.mark.parametrize("path", ["/v1/chat", "/v1/warm"])
async def test_a_malformed_body(start: Start, path: str, body: bytes, says: str) -> None:
    backend = Scripted(*answer("a"))
    service = await start(backend)

    response = await service.http.post(path, content=body, headers=JSON)

    assert response.status_code == 400
    error = response.json()["error"]
    assert error["code"] == "BAD_REQUEST"
    assert says in error["message"]
    assert backend.requests == backend.warmed == []


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_only_json(start: Start, kind: str) -> None:
    service = await start(Scripted())

    response = await service.http.post("/v1/chat", content=json.dumps(CHAT), headers={"content-type": kind})

    assert response.status_code == 415


async def test_json_with_a_charset(start: Start) -> None:
    service = await start(Scripted(*answer("a")))
    headers = {"content-type": "application/json; charset=utf-8"}

    response = await service.http.post("/v1/chat", content=json.dumps(CHAT), headers=headers)

    assert response.status_code == 200


async def test_a_body_that_says_it_is_too_large(start: Start) -> None:
    service = await start(Scripted(), max_body=100)

    response = await service.http.post("/v1/chat", content=b"x" * 101, headers=JSON)

    assert response.status_code == 413
    assert "100 bytes" in response.json()["error"]["message"]


async def test_a_body_that_grows_too_large(start: Start) -> None:
    service = await start(Scripted(), max_body=100)

    async def chunks() -> Any:
        for _ in range(11):
            yield b"x" * 10

    response = await service.http.post("/v1/chat", content=chunks(), headers=JSON)

    assert response.status_code == 413


async def test_a_client_that_goes_away_in_its_body() -> None:
    messages = [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]

    async def receive() -> Any:
        return messages.pop(0)

    with pytest.raises(Disconnected):
        await read_chat(JSON, receive, 1000)


async def test_unknown_paths_and_methods(start: Start) -> None:
    service = await start(Scripted())

    assert (await service.http.get("/")).status_code == 404
    assert (await service.http.get("/v1/chat")).status_code == 405


async def test_only_a_hint_may_come_before_any_message(start: Start) -> None:
    backend = Scripted(*answer("a"))
    service = await start(backend)

    asked = await service.http.post("/v1/chat", json={"messages": []})
    assert asked.status_code == 400
    assert "`messages` is empty" in asked.json()["error"]["message"]
    assert (await service.http.post("/v1/warm", json={"messages": []})).status_code == 204
    assert (len(backend.requests), len(backend.warmed)) == (0, 1)


async def test_warm_reaches_the_backend(start: Start) -> None:
    backend = Scripted()
    service = await start(backend)

    response = await service.http.post("/v1/warm", json=CHAT)

    assert response.status_code == 204
    assert [request.messages[0].content for request in backend.warmed] == ["one two three"]


async def test_health_and_readiness(start: Start) -> None:
    is_ready = False
    service = await start(Scripted(), ready=lambda: is_ready)

    assert (await service.http.get("/healthz")).json() == {"status": "ok"}
    assert (await service.http.get("/readyz")).status_code == 503
    is_ready = True
    assert (await service.http.get("/readyz")).status_code == 200


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | st.text(), lambda s: st.lists(s)).map(lambda v: json.dumps(v).encode())
)
def test_no_body_makes_more_than_a_refusal(body: bytes) -> None:
    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    with pytest.raises(Refusal) as caught:
        asyncio.run(read_chat(JSON, receive, 1_000_000))
    assert caught.value.status == 400


class TestGuard:
    @pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1:1", "[::1]:80", "box.lan", "192.168.1.5"])
    async def test_names_that_are_ours(self, start: Start, host: str) -> None:
        service = await start(Scripted(), access=Access(hosts=frozenset({"box.lan"})))

        assert (await service.http.get("/readyz", headers={"host": host})).status_code == 200

    @pytest.mark.parametrize(
        "host", ["evil.example", "localhost.evil.example", "evil.example:80", "", "1.2.3.4.evil.example"]
    )
    async def test_a_foreign_name_is_refused(self, start: Start, host: str) -> None:
        service = await start(Scripted())

        response = await service.http.get("/readyz", headers={"host": host})

        assert response.status_code == 403

    @pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:1", "file://"])
    async def test_another_page_is_refused(self, start: Start, origin: str) -> None:
        backend = Scripted(*answer("a"))
        service = await start(backend)

        response = await service.http.post("/v1/chat", json=CHAT, headers={"origin": origin})

        assert response.status_code == 403
        assert backend.requests == []

    async def test_our_own_page_is_not(self, start: Start) -> None:
        service = await start(Scripted())

        assert (await service.http.get("/readyz", headers={"origin": service.url})).status_code == 200

    @pytest.mark.parametrize("given", [None, "Bearer wrong", "Bearer x", "Basic right", "right", "Bearer ri\u00e9ght"])
    async def test_without_the_token_nothing(self, start: Start, given: str | None) -> None:
        backend = Scripted(*answer("a"))
        service = await start(backend, access=Access("right"))
        headers = httpx.Headers({"authorization": given} if given is not None else {}, encoding="utf-8")

        response = await service.http.post("/v1/chat", json=CHAT, headers=headers)

        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"
        assert backend.requests == []

    async def test_with_the_token(self, start: Start) -> None:
        service = await start(Scripted(), access=Access("right"))

        assert (await service.http.get("/readyz", headers={"authorization": "bearer right"})).status_code == 200
        assert (await service.http.get("/healthz")).status_code == 200
