"""Where two prompts part, found in their fingerprints."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from backends.backend import Message
from backends.telemetry.prompt_print import BLOCK, MOST, MessagePrint, fingerprint, parting

SYSTEM = "You are a helpful assistant of Example Ltd. Answer briefly, and in the words of who asks."


def asked(*texts: str, system: str = SYSTEM) -> tuple[MessagePrint, ...]:
    roles = ("user", "assistant")
    turns = (Message(roles[number % 2], text) for number, text in enumerate(texts))  # type: ignore[arg-type]
    return fingerprint((Message("system", system), *turns))


def test_a_prompt_that_only_grows_parts_nowhere() -> None:
    assert parting(asked("one?"), asked("one?", "One.", "two?")) is None
    assert parting(asked("one?"), asked("one?")) is None


def test_a_date_in_the_system_prompt_is_found() -> None:
    found = parting(asked("q", system=f"{SYSTEM} It is 09:41."), asked("q", "A.", "r", system=f"{SYSTEM} It is 09:42."))
    assert found is not None
    assert (found.number, found.role) == (0, "system")
    assert len(SYSTEM) - BLOCK < found.character <= len(SYSTEM) + 13
    assert found.before == found.character


def test_an_edited_question_is_found_behind_what_came_before() -> None:
    found = parting(asked("one?", "One.", "two?"), asked("one?", "One.", "three?"))
    assert found is not None
    assert (found.number, found.role, found.character) == (3, "user", 0)
    assert found.before == len(SYSTEM) + len("one?One.")


def test_messages_that_were_left_out_are_found() -> None:
    found = parting(asked("one?", "One.", "two?"), asked("one?"))
    assert found is not None
    assert found.number == 2


def test_it_holds_nothing_of_what_was_said_and_little_at_all() -> None:
    long = "secret words " * 4_000
    (one,) = fingerprint((Message("user", long),))
    stored = msgspec.msgpack.encode(one)
    assert b"secret" not in stored
    assert len(stored) < 2 * MOST + 20


@given(st.text(max_size=900), st.text(max_size=300), st.text(max_size=300), st.integers(1, 40))
def test_the_place_is_never_behind_the_true_one_and_at_most_a_block_before_it(
    common: str, one: str, other: str, times: int
) -> None:
    first, second = common * times + "a" + one, common * times + "b" + other
    found = parting(fingerprint((Message("user", first),)), fingerprint((Message("user", second),)))
    assert found is not None
    truly = len(common) * times
    block = max(message.block for text in (first, second) for message in fingerprint((Message("user", text),)))
    # A block of two bytes is alike by chance once in 65,536 times.
    assert truly - block < found.character <= truly + block
