"""Loopback TCP where there are no Unix sockets: the token in the private folder opens, and nothing else does."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec
import pytest

from backends.errors import BackendError, Code
from backends.events import Done, Error
from backends.local.launcher import Settings
from backends.local.lease import Lease
from backends.providers.local import Local
from backends.providers.native import Native
from tests.local.conftest import wait_until
from tests.local.talk import answer, endpoints

OpenLocal = Callable[..., Local]


@pytest.fixture
def tcp(settings: Settings) -> Settings:
    return msgspec.structs.replace(settings, transport="tcp")


async def test_answers_over_loopback(open_local: OpenLocal, tcp: Settings) -> None:
    assert isinstance((await answer(open_local(how=tcp)))[-1], Done)
    (endpoint,) = endpoints(tcp)
    assert endpoint.url.startswith("http://127.0.0.1:")
    assert endpoint.uds == ""
    assert len(endpoint.token) >= 32


@pytest.mark.parametrize("token", ["", "wrong"])
async def test_without_the_token_nothing(open_local: OpenLocal, tcp: Settings, token: str) -> None:
    await answer(open_local(how=tcp))
    (endpoint,) = endpoints(tcp)
    with pytest.raises(BackendError, match="HTTP 401"):
        await Lease.take(msgspec.structs.replace(endpoint, token=token))
    native = Native(endpoint.url, token=token or None)
    last = (await answer(native))[-1]
    await native.aclose()
    assert isinstance(last, Error)
    assert last.code == "HTTP_401"


async def test_a_second_client_finds_token_and_port(open_local: OpenLocal, tcp: Settings) -> None:
    await answer(open_local(how=tcp))
    assert isinstance((await answer(open_local(how=tcp)))[-1], Done)
    assert len(endpoints(tcp)) == 1


async def test_the_unix_socket_is_the_owners(open_local: OpenLocal, settings: Settings) -> None:
    await answer(open_local())
    assert settings.folder is not None
    (socket,) = settings.folder.glob("*.sock")
    (endpoint,) = settings.folder.glob("*.json")
    assert [path.stat().st_mode & 0o777 for path in (settings.folder, socket, endpoint)] == [0o700, 0o600, 0o600]


@pytest.fixture
def too_long(settings: Settings) -> Iterator[Settings]:
    """A folder in which no Unix socket can be bound."""
    assert settings.folder is not None
    folder = settings.folder / ("n" * 100)
    folder.mkdir(mode=0o700)
    yield msgspec.structs.replace(settings, folder=folder)
    wait_until(lambda: not list(folder.iterdir()), f"{folder} to be empty")
    folder.rmdir()


async def test_it_is_what_is_left_where_no_unix_socket_can_be_had(open_local: OpenLocal, too_long: Settings) -> None:
    local = open_local(how=too_long)
    assert isinstance((await answer(local))[-1], Done)
    (endpoint,) = endpoints(too_long)
    assert endpoint.uds == ""
    await local.aclose()


async def test_a_child_without_an_address_says_why(open_local: OpenLocal, too_long: Settings) -> None:
    last = (await answer(open_local(how=msgspec.structs.replace(too_long, transport="unix"))))[-1]
    assert isinstance(last, Error)
    assert last.code == Code.CONFIG
    assert "too long" in last.message
