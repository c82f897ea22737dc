"""Whether and when a request is sent again: the decision, and each dialect that takes it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import pytest

from backends.backend import ChatRequest, Message
from backends.errors import BackendError, Code
from backends.events import Done, Error, Event, Meta, Status, Token
from backends.sse import retries
from backends.sse.retries import LONGEST_WAIT, Retries
from backends.sse.timeouts import Timeouts
from tests.fakes.dialects import DIALECTS, Dialect
from tests.fakes.http_server import CUT, Script, http_server, response

PATIENCE = 20.0
REFUSED = BackendError("HTTP_503", "overloaded", retryable=True)


def waits(count: int, error: BackendError, chance: float = 0.0, left: float | None = None) -> list[float]:
    """All waits for a request that always fails with `error`."""
    decision = Retries(count, lambda: chance)
    found = []
    while (delay := decision.delay(error, left)) is not None:
        found.append(delay)
    return found


class TestDecision:
    def test_waits_double_up_to_a_limit(self) -> None:
        assert waits(6, REFUSED) == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0]

    def test_chance_takes_up_to_half_off(self) -> None:
        assert waits(2, REFUSED, chance=1.0) == [0.25, 0.5]

    def test_no_retries_no_wait(self) -> None:
        assert waits(0, REFUSED) == []

    @pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
    def test_retry_after_is_never_undercut(self, chance: float) -> None:
        (wait,) = waits(1, BackendError("HTTP_429", "slow down", retryable=True, retry_after=3.0), chance)
        assert 3.0 <= wait < 3.4

    def test_a_long_retry_after_is_left_to_the_person(self) -> None:
        assert waits(3, BackendError("HTTP_429", "", retryable=True, retry_after=LONGEST_WAIT + 1)) == []

    def test_nobody_waits_beyond_the_first_tokens_limit(self) -> None:
        assert waits(3, REFUSED, left=0.4) == []

    @pytest.mark.parametrize(
        "error",
        [
            BackendError("HTTP_400", ""),
            BackendError("HTTP_429", "no credit"),  # which is not retryable
            BackendError("HTTP_504", "", retryable=True),
            BackendError(Code.INTERRUPTED, "lost on its way", retryable=True),
            BackendError(Code.CONNECT, "refused", retryable=True),
            BackendError(Code.TIMEOUT_FIRST_TOKEN, "", retryable=True),
        ],
        ids=lambda error: error.code,
    )
    def test_what_is_not_tried_again(self, error: BackendError) -> None:
        assert waits(3, error) == []

    def test_a_connection_that_may_come_back_is(self) -> None:
        assert len(waits(3, BackendError(Code.CONNECT, "network is down", retryable=True, transient=True))) == 3

    def test_the_last_word_says_how_often_it_was_tried(self) -> None:
        decision = Retries(1, lambda: 0.0)
        assert decision.last_word(BackendError("X", "why")).message == "why"
        decision.delay(REFUSED, None)
        assert decision.last_word(BackendError("X", "why")).message == "why (tried 2 times)"


async def ask(dialect: Dialect, scripts: Sequence[Script], count: int = 2) -> tuple[list[Event], int]:
    """The answer of a server that plays `scripts` one after another, the last one again and again; and its requests."""
    left = list(scripts)
    async with http_server(lambda _: left.pop(0) if len(left) > 1 else left[0]) as server, asyncio.timeout(PATIENCE):
        backend = dialect.connect(server.url, Timeouts(), count)
        got = [event async for event in backend.stream(ChatRequest((Message("user", "hi"),)))]
        await backend.aclose()
    return got, len(server.requests)


@pytest.mark.parametrize("name", DIALECTS)
class TestDialects:
    @pytest.fixture(autouse=True)
    def short_waits(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Own waits are over at once."""
        monkeypatch.setattr(retries, "_FIRST", 0.01)

    async def test_a_refusal_is_seen_and_the_next_try_answers(self, name: str) -> None:
        dialect = DIALECTS[name]
        refusal = response(503, body=b'{"error": {"message": "busy"}}')
        got, requests = await ask(dialect, [[refusal], dialect.whole("a ", "b")])

        assert requests == 2
        assert "".join(event.text for event in got if isinstance(event, Token)) == "a b"
        assert isinstance(got[-1], Done)
        (told,) = [event.detail for event in got if isinstance(event, Status) and "try" in event.detail]
        assert told.startswith("HTTP 503; try 2 of 3 in ")
        spent = [span for event in got if isinstance(event, Meta) for span in event.spans if span.stage == "retry"]
        assert spent[-1].duration > 0

    async def test_it_ends_with_the_servers_words_and_the_number_of_tries(self, name: str) -> None:
        got, requests = await ask(DIALECTS[name], [[response(503, body=b'{"error": {"message": "busy"}}')]], 1)

        assert requests == 2
        assert isinstance(got[-1], Error)
        assert got[-1].code == "HTTP_503"
        assert "busy" in got[-1].message
        assert got[-1].message.endswith("(tried 2 times)")

    async def test_retry_after_is_kept_to(self, name: str) -> None:
        dialect = DIALECTS[name]
        began = time.monotonic()
        got, _ = await ask(dialect, [[response(429, headers=["retry-after: 0.4"])], dialect.whole("a")])

        assert isinstance(got[-1], Done)
        assert time.monotonic() - began >= 0.4

    @pytest.mark.parametrize("status", [400, 401, 504])
    async def test_other_errors_are_final(self, name: str, status: int) -> None:
        got, requests = await ask(DIALECTS[name], [[response(status)]])

        assert requests == 1
        assert [type(event) for event in got if not isinstance(event, Status)] == [Error]

    async def test_an_error_in_a_200_before_the_first_token(self, name: str) -> None:
        dialect = DIALECTS[name]
        got, requests = await ask(dialect, [dialect.answer(dialect.opening, dialect.error), dialect.whole("a")])

        worth_it = dialect.code in retries.REFUSALS
        assert requests == 1 + worth_it
        assert isinstance(got[-1], Done if worth_it else Error)

    async def test_never_after_the_first_token(self, name: str) -> None:
        dialect = DIALECTS[name]
        begun = (dialect.opening, dialect.piece("a"))
        for script in (dialect.answer(*begun, dialect.error), [*dialect.answer(*begun, end=False), CUT]):
            got, requests = await ask(dialect, [script, dialect.whole("never")])

            assert requests == 1
            assert [event.text for event in got if isinstance(event, Token)] == ["a"]
            assert isinstance(got[-1], Error)
