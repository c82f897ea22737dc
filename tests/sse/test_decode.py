"""The decoder: bytes in pieces of any size to lines, and to server-sent events as the standard reads them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.sse.decode import LineDecoder, events

LONG = "x" * 2000

# The bodies of the web platform tests' `eventsource/format-*.any.js` (github.com/web-platform-tests/wpt), by their
# names, written anew as data; what they expect of `lastEventId` is the third of each event's parts.
CASES: dict[str, tuple[str, list[tuple[str, str, str]]]] = {
    "bom": ("\ufeffdata:1\n\n\ufeffdata:2\n\ndata:3\n\n", [("message", "1", ""), ("message", "3", "")]),
    "bom-2": ("\ufeff\ufeffdata:1\n\ndata:2\n\ndata:3\n\n", [("message", "2", ""), ("message", "3", "")]),
    "comments": (
        f"data:1\r:\0\n:\r\ndata:2\n:{LONG}\rdata:3\n:data:fail\r:{LONG}\ndata:4\n\n",
        [("message", "1\n2\n3\n4", "")],
    ),
    "data-before-final-empty-line": ("retry:1000\ndata:test1\n\nid:test\ndata:test2", [("message", "test1", "")]),
    "field-data": (
        "data:\n\ndata\ndata\n\ndata:test\n\n",
        [("message", "", ""), ("message", "\n", ""), ("message", "test", "")],
    ),
    "field-event": ("event:test\ndata:x\n\ndata:x\n\n", [("test", "x", ""), ("message", "x", "")]),
    "field-event-empty": ("event: \ndata:data\n\n", [("message", "data", "")]),
    "field-id": (
        "id:1\ndata:a\n\ndata:b\n\nid\ndata:c\n\n",
        [("message", data, last) for data, last in ("a1", "b1", ("c", ""))],
    ),
    "field-id-null": ("id:1\0 2\ndata:hello\n\n", [("message", "hello", "")]),
    "field-parsing": (
        "data:\0\ndata:  2\rData:1\ndata\0:2\ndata:1\r\0data:4\nda-ta:3\rdata_5\ndata:3\rdata:\r\n data:32\ndata:4\n\n",
        [("message", "\0\n 2\n1\n3\n\n4", "")],
    ),
    "field-retry-bogus": ("retry:3000\nretry:1000x\ndata:x\n\n", [("message", "x", "")]),
    "field-unknown": (
        "data:test\n data\ndata\nfoobar:xxx\njustsometext\n:thisisacommentyay\ndata:test\n\n",
        [("message", "test\n\ntest", "")],
    ),
    "leading-space": ("data:\ttest\rdata: \ndata:test\n\n", [("message", "\ttest\n\ntest", "")]),
    "newlines": ("data:test\r\ndata\ndata:test\r\n\r", [("message", "test\n\ntest", "")]),
    "null-character": ("data:\0\n\n\n\n", [("message", "\0", "")]),
    "utf-8": ("data:ok…\n\n", [("message", "ok…", "")]),
    # And what httpx-sse alone reads otherwise:
    "a comment behind an id is no event": ("id:1\ndata:a\n\n: ping\n\n\n", [("message", "a", "1")]),
    "a name without data is no event": ("event:a\n\ndata:b\n\n", [("message", "b", "")]),
}

NASTY = st.text(st.sampled_from("da:t \n\r\n\rx\0é😀\ufeff\u2028"), max_size=60)
FIELDS = st.sampled_from(
    ["data: a", "data:", "data", "event: e", "event", "id: 7", "id: \0", ": c", "x: y", "retry: 5", ""]
)
ENDS = st.sampled_from(["\n", "\r", "\r\n"])
BODY = st.builds(lambda pairs, rest: "".join(f + e for f, e in pairs) + rest, st.lists(st.tuples(FIELDS, ENDS)), NASTY)


def read(body: bytes, size: int) -> list[tuple[str, str, str]]:
    """The events of `body` in pieces of `size` bytes."""
    pieces = (body[at : at + size] for at in range(0, len(body), size))
    return [(event.event, event.data, event.id) for event in events(pieces)]


def standard(body: bytes) -> list[tuple[str, str, str]]:
    """The standard's own words ("Interpreting an event stream"), on a body as a whole."""
    text = body.decode("utf-8", "replace").removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    found = []
    data, kind, last_id = "", "", ""
    for line in text.split("\n")[:-1]:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                found.append((kind or "message", data.removesuffix("\n"), last_id))
            data, kind = "", ""
        elif name == "data":
            data += value + "\n"
        elif name == "event":
            kind = value
        elif name == "id" and "\0" not in value:
            last_id = value
    return found


@pytest.mark.parametrize("size", [1, 2, 3, 7, 10_000])
@pytest.mark.parametrize("name", CASES)
def test_cases_of_the_web_platform_tests(name: str, size: int) -> None:
    body, expected = CASES[name]

    assert read(body.encode(), size) == expected


@given(BODY, st.integers(1, 9))
def test_any_text_in_any_pieces_is_read_as_the_standard_says(body: str, size: int) -> None:
    assert read(body.encode(), size) == standard(body.encode())


@given(st.binary(max_size=200), st.integers(1, 9))
def test_any_bytes_at_all(body: bytes, size: int) -> None:
    assert read(body, size) == standard(body)


@given(BODY, st.data())
def test_a_cut_loses_nothing_that_was_complete(body: str, data: st.DataObject) -> None:
    whole = body.encode()
    cut = data.draw(st.integers(0, len(whole)))

    assert read(whole[:cut], 4) == standard(whole[:cut])


def test_an_event_that_ends_in_cr_does_not_wait_for_what_comes_next() -> None:
    def pieces() -> Iterator[bytes]:
        yield b"data: 1\r\r"
        raise AssertionError("more was asked for")

    assert next(events(pieces())).data == "1"


def test_what_is_split_between_cr_and_lf_is_one_line_end() -> None:
    assert read(b"data: 1\r\ndata: 2\r\n\r\n", 8) == [("message", "1\n2", "")]


@given(
    st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n\ufeff"))), st.integers(1, 9), st.booleans()
)
def test_any_lines_in_any_pieces(lines: list[str], size: int, ended: bool) -> None:
    body = ("\n".join(lines) + ("\n" if ended else "")).encode()
    decoder = LineDecoder()

    found = itertools.chain.from_iterable(decoder.feed(body[at : at + size]) for at in range(0, len(body), size))

    assert list(found) == "\n".join(lines).split("\n")[: None if ended else -1]
