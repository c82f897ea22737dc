"""What a server says about its error is shown safely."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.sse.excerpt import LIMIT, clean, excerpt


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"error": {"message": "no such model", "type": "x", "code": null}}', "no such model"),
        (b'{"error": "model not found"}', "model not found"),
        (b'{"detail": "Not Found"}', "Not Found"),
        (b'{"detail": [{"loc": ["body"], "msg": "field required"}]}', "field required"),
        (b'{"message": "slow down"}', "slow down"),
        (b'{"object": "error", "message": "too long"}', "too long"),
        (b"plain words\n", "plain words"),
        (b"\xef\xbb\xbfwith a mark", "with a mark"),
        (b"<html><head><title>502 Bad Gateway</title></head><body>x</body></html>", "502 Bad Gateway"),
        (b"<html><style>p{}</style><p>Go <b>away</b> &amp; stay</p></html>", "Go away & stay"),
        (b'{"broken": ', '{"broken":'),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"", ""),
    ],
)
def test_the_message_is_found(body: bytes, said: str) -> None:
    assert excerpt(body) == said


def test_escapes_and_controls_are_gone() -> None:
    hostile = "\x1b[2J\x1b]0;title\x07red \x1b[31malert\x1b[0m\x00\x08\r\nnext\u202eline\x9b1m"

    assert clean(hostile) == "red alert nextline"


def test_a_key_that_the_server_repeats_is_cut() -> None:
    assert clean("Incorrect API key provided: sk-secret.", secrets=["sk-secret"]) == "Incorrect API key provided: ***."


def test_long_words_are_cut() -> None:
    assert len(clean("word " * 1000)) <= LIMIT


def test_deep_json_is_not_followed() -> None:
    assert excerpt(b'{"error":' * 50_000) != ""


@given(st.binary(max_size=2000))
def test_nothing_that_a_terminal_obeys_gets_through(body: bytes) -> None:
    said = excerpt(body)

    assert len(said) <= LIMIT
    assert not [c for c in said if unicodedata.category(c)[0] == "C"]
