"""Which replica a conversation gets, over plain data."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from backends.backend import ChatRequest, Message
from backends.routing.affinity import Homes, conversation, ranked

IDLE = {"a": 0, "b": 0, "c": 0}
names = st.text("0123456789abcdef", min_size=8, max_size=8)


def asked(*turns: str, partition: str = "", system: str = "Be brief.") -> str:
    """The conversation of a user's and the model's turns, by turns."""
    roles = ("user", "assistant")
    messages = [Message(roles[place % 2], text) for place, text in enumerate(turns)]  # type: ignore[arg-type]
    return conversation(ChatRequest((Message("system", system), *messages), partition=partition))


def test_later_turns_belong_to_the_conversation() -> None:
    assert asked("one") == asked("one", "1", "two") == asked("one", "another answer", "three")


def test_other_beginnings_are_other_conversations() -> None:
    begun = [asked("one"), asked("two"), asked("one", system="Be long."), asked("one", partition="somebody")]
    assert len({*begun, conversation(ChatRequest(()))}) == 5


def test_texts_do_not_run_into_each_other() -> None:
    assert asked("bc", system="a") != asked("c", system="ab")


def test_a_hint_without_a_question_and_a_lone_surrogate_have_a_conversation() -> None:
    assert conversation(ChatRequest((Message("user", "\ud800"),))) != conversation(ChatRequest(()))


def test_home_comes_first_however_busy() -> None:
    assert ranked("x", "b", IDLE | {"b": 9})[0] == "b"


def test_without_a_home_who_has_least_to_do() -> None:
    assert ranked("x", None, {"a": 2, "b": 0, "c": 1}) == ["b", "c", "a"]


def test_a_home_that_is_gone_is_not_asked() -> None:
    assert sorted(ranked("x", "gone", IDLE)) == ["a", "b", "c"]


@given(st.sets(names, min_size=2, max_size=6), names)
def test_who_goes_takes_only_his_own_conversations_along(replicas: set[str], about: str) -> None:
    load = dict.fromkeys(replicas, 0)
    before = ranked(about, None, load)
    gone = before[-1]
    assert ranked(about, None, {name: 0 for name in load if name != gone}) == before[:-1]


def test_conversations_spread() -> None:
    first = [ranked(asked(f"question {number}"), None, IDLE)[0] for number in range(300)]
    assert all(60 < first.count(name) < 140 for name in IDLE)


def test_the_least_recently_used_is_forgotten() -> None:
    homes = Homes(limit=2)
    for about, replica in (("x", "a"), ("y", "b"), ("x", "c"), ("z", "a")):
        homes.note(about, replica)
    assert (homes.of("x"), homes.of("y"), homes.of("z")) == ("c", None, "a")
