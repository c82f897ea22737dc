"""Addresses as people write them."""

from __future__ import annotations

import pytest

from backends.errors import ConfigError
from backends.sse.address import Address, parse_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("http://localhost:8000", Address("http://localhost:8000")),
        ("https://example.org/api/", Address("https://example.org/api")),
        (" http://[::1]:80 ", Address("http://[::1]:80")),
        ("unix:/run/x.sock", Address("http://localhost", "/run/x.sock")),
        ("unix:///run/x.sock", Address("http://localhost", "/run/x.sock")),
    ],
)
def test_read(text: str, address: Address) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "localhost:8000",
        "ftp://x",
        "http://",
        "unix:",
        "http://x:0",
        "http://x:99999",
        "http://x/?a=b",
        "http://a b/",
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_address(text)


def test_a_password_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_address("https://me:hunter2@example.org")

    assert "hunter2" not in caught.value.message


@pytest.mark.parametrize(
    ("text", "is_here"),
    [("http://127.0.0.1:1", True), ("http://[::1]:1", True), ("unix:/x", True), ("http://example.org", False)],
)
def test_loopback(text: str, is_here: bool) -> None:
    assert parse_address(text).loopback is is_here
