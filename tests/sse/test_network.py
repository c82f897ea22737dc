"""Proxies, certificates, and what is opened before anything is sent: on real sockets."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from backends import config, providers
from backends.backend import ChatRequest, Message
from backends.errors import BackendError, Code, ConfigError
from backends.events import Done, Error, Event, Meta
from backends.sse.address import Address, parse_address
from backends.sse.client import Client
from backends.sse.network import Network, parse_proxy
from backends.sse.proxies import proxy_for
from backends.sse.secrets import secrets_in
from tests.fakes import certificates
from tests.fakes.http_server import Request, Script, Server, http_server
from tests.fakes.openai_server import completion, models, response
from tests.fakes.proxies import http_proxy, socks_proxy

PATIENCE = 20.0
SECRET = "not yet sent"
VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@asynccontextmanager
async def openai(tls: bool = False, ask_client: bool = False) -> AsyncIterator[Server]:
    """A server of chat completions."""
    import json

    def answer(request: Request) -> Script:
        return [response(body=models("fake"))] if request.method == "GET" else completion(json.loads(request.body))

    async with http_server(answer, tls=certificates.server_tls(ask_client=ask_client) if tls else None) as server:
        yield server


async def ask(url: str, path: Path, warm: bool = False, **more: Any) -> list[Event]:
    """All events of one answer by a backend with these settings."""
    lines = [f"{key} = {value!r}" for key, value in more.items()]
    text = "\n".join(["[backends.a]", 'type = "openai"', f'url = "{url}"', *lines])
    backend = providers.open_backend(config.parse(text, path / "c.toml"), "a")
    request = ChatRequest((Message("user", "one two"),))
    async with asyncio.timeout(PATIENCE):
        if warm:
            assert await backend.warm(ChatRequest((Message("user", SECRET),))) is None
        found = [event async for event in backend.stream(request)]
        await backend.aclose()
    return found


def failed(found: list[Event]) -> Error:
    """The error that an answer ended with."""
    assert isinstance(found[-1], Error), found
    return found[-1]


def connects(found: list[Event]) -> list[float]:
    """How long connections took that were opened while an answer was wanted."""
    spans = [span for event in found if isinstance(event, Meta) for span in event.spans]
    return [span.duration for span in spans if span.stage == "connect"]


PROXIES = {"http": http_proxy, "socks5": socks_proxy}


class TestProxies:
    @pytest.mark.parametrize("kind", PROXIES)
    @pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
    async def test_the_answer_comes_through_it(self, tmp_path: Path, kind: str, tls: bool) -> None:
        async with openai(tls) as server, PROXIES[kind]() as proxy:
            found = await ask(server.url, tmp_path, warm=True, proxy=proxy.url, ca_file=str(certificates.CA))

        assert isinstance(found[-1], Done), found[-1]
        assert len(proxy.seen) == 1, "the connection that was opened while typing is the one that is used"
        assert server.connections == 1
        assert [request.method for request in server.requests] == ["GET", "POST"]
        assert all(SECRET.encode() not in request.body for request in server.requests)
        assert (b"POST" in proxy.passed) is not tls, "what is encrypted stays so on its way"

    async def test_the_proxy_itself_may_be_encrypted(self, tmp_path: Path) -> None:
        async with openai() as server, http_proxy(tls=certificates.server_tls()) as proxy:
            found = await ask(server.url, tmp_path, proxy=proxy.url, ca_file=str(certificates.CA))

        assert isinstance(found[-1], Done), found[-1]

    @pytest.mark.parametrize("kind", PROXIES)
    async def test_user_and_password_come_from_the_environment(
        self, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Address, "loopback", property(lambda self: False))
        async with openai() as server, PROXIES[kind](user="me", password="p@ss") as proxy:
            monkeypatch.setenv("ALL_PROXY", proxy.url)
            refused = failed(await ask(server.url, tmp_path))
            monkeypatch.setenv("ALL_PROXY", proxy.url.replace("//", "//me:p%40ss@"))
            found = await ask(server.url, tmp_path)

        assert "HTTPS_PROXY" in refused.message or "407" in refused.message
        assert isinstance(found[-1], Done), found[-1]

    async def test_a_proxy_that_refuses_is_named(self, tmp_path: Path) -> None:
        async with http_proxy(status=403) as proxy:
            error = failed(await ask("https://127.0.0.1:9", tmp_path, proxy=proxy.url))

        assert (error.code, error.retryable) == (Code.CONNECT, False)
        assert error.message == f"the proxy {proxy.url} does not open https://127.0.0.1:9/v1: 403 Refused"

    @pytest.mark.parametrize("scheme", ["http", "socks5"])
    async def test_a_proxy_that_is_not_there_is_named(self, tmp_path: Path, scheme: str) -> None:
        error = failed(await ask("https://127.0.0.1:9", tmp_path, proxy=f"{scheme}://127.0.0.1:1"))

        assert (error.code, error.retryable) == (Code.CONNECT, True)
        assert error.message.startswith(f"cannot reach the proxy {scheme}://127.0.0.1:1: connection refused")


class TestTheEnvironment:
    def test_by_scheme_and_host(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTPS_PROXY", "http://me:secret@proxy:3128")
        monkeypatch.setenv("ALL_PROXY", "proxy:1")
        monkeypatch.setenv("NO_PROXY", "inside.example,.local.example")

        found = proxy_for(Address("https://api.example"))

        assert found is not None
        assert (found.url, found.auth) == ("http://proxy:3128", ("me", "secret"))
        assert proxy_for(Address("http://api.example")) == parse_proxy("http://proxy:1", "")
        for url in ("https://inside.example", "https://a.local.example", "https://127.0.0.1:8000", "https://localhost"):
            assert proxy_for(Address(url)) is None

    def test_the_configuration_decides_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")

        assert proxy_for(Address("https://api.example"), "direct") is None
        assert proxy_for(Address("https://127.0.0.1"), "socks5://h:1") == parse_proxy("socks5://h:1", "")

    def test_what_is_no_proxy_is_named_without_its_password(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTPS_PROXY", "gopher://me:secret@proxy")

        with pytest.raises(ConfigError, match="HTTPS_PROXY is no proxy") as caught:
            proxy_for(Address("https://api.example"))
        assert "secret" not in caught.value.message


class TestCertificates:
    async def test_an_authority_of_ones_own(self, tmp_path: Path) -> None:
        async with openai(tls=True) as server:
            unknown = failed(await ask(server.url, tmp_path))
            found = await ask(server.url, tmp_path, warm=True, ca_file=str(certificates.CA))

        assert unknown.code == Code.TLS
        assert "ca_file" in unknown.message
        assert isinstance(found[-1], Done), found[-1]
        assert connects(found) == []

    async def test_a_server_that_wants_to_know_who_asks(self, tmp_path: Path) -> None:
        trust = {"ca_file": str(certificates.CA)}
        shown = {"client_cert": str(certificates.CLIENT), "client_key": str(certificates.CLIENT_KEY)}
        async with openai(tls=True, ask_client=True) as server:
            found = await ask(server.url, tmp_path, **trust, **shown)

        assert isinstance(found[-1], Done), found[-1]

    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    async def test_who_does_not_say_who_asks_is_told_what_to_do(self, tmp_path: Path, version: ssl.TLSVersion) -> None:
        """asyncio's own server would reset the connection in front of its alert."""
        context = certificates.server_tls(ask_client=True)
        context.minimum_version = context.maximum_version = version

        def refuse() -> None:
            connection = listener.accept()[0]
            with context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False) as tls:
                with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
                    tls.do_handshake()
                with suppress(OSError):  # closed with something unread, it would be reset
                    socket.socket.shutdown(tls, socket.SHUT_WR)
                    while socket.socket.recv(tls, 4096):
                        pass

        with socket.create_server(("127.0.0.1", 0)) as listener:
            url = f"https://127.0.0.1:{listener.getsockname()[1]}"
            refusing = asyncio.create_task(asyncio.to_thread(refuse))
            refused = failed(await ask(url, tmp_path, ca_file=str(certificates.CA)))
            await refusing

        assert refused.code == Code.TLS
        assert "client_cert" in refused.message

    @pytest.mark.parametrize(
        ("network", "says"),
        [
            (Network(ca_file=certificates.CLIENT_KEY), "no certificates in PEM form"),
            (Network(client_cert=certificates.CA), "its own, unencrypted key"),
            (Network(client_cert=certificates.CLIENT, client_key=certificates.ENCRYPTED_KEY), "unencrypted key"),
            (Network(client_cert=certificates.SERVER, client_key=certificates.CLIENT_KEY), "its own, unencrypted key"),
        ],
    )
    def test_files_that_cannot_be_used(self, network: Network, says: str) -> None:
        with pytest.raises(ConfigError, match=says):
            Client(parse_address("https://127.0.0.1:9"), network=network)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('proxy = "ftp://h"', "proxy is no proxy; write http://host:port"),
        ('proxy = "http://me:hidden@h"', "proxy must not carry a user or password"),
        ('proxy = "http://h:x"', "proxy is not a valid URL"),
        ('ca_file = "none.pem"', "ca_file: there is no file"),
        ('client_key = "k"', "client_key belongs to a client_cert"),
        ('api_key_command = ["x"]\napi_key_env = "HOME"', "api_key_env and api_key_command are both set"),
        ('api_key_command = "pass show x"', r"line 4: backends\.a\.api_key_command: expected `array`, got `str`"),
        ('api_key_keyring = "openai"', "should be SERVICE/USER"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, lines: str, message: str) -> None:
    text = f'[backends.a]\ntype = "auto"\nurl = "http://127.0.0.1:9"\n{lines}\n'

    with pytest.raises(BackendError, match=message) as caught:
        providers.open_backend(config.parse(text, tmp_path / "c.toml"), "a")
    assert caught.value.code == Code.CONFIG
    assert "hidden" not in caught.value.message


def test_everything_that_is_a_secret() -> None:
    headers = {"Authorization": "Bearer abc.def", "X-Team": "blue team", "X-Api-Key": "k" * 20, "cookie": "a=1"}

    found = secrets_in(headers, "sk-1", parse_proxy("http://me:hidden@h", ""))

    assert {"sk-1", "abc.def", "k" * 20, "hidden", "bWU6aGlkZGVu"} <= set(found)
    assert not any(re.search("blue|^Bearer$", secret) for secret in found)
    assert list(found) == sorted(found, key=len, reverse=True)
