"""The decision, over plain data."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from backends.routing.choose import Candidate, choose
from backends.routing.measured import Measured

A, B, C = (Candidate(name, "", 500.0) for name in ("a", "b", "c"))
UNKNOWN = Measured()
NOW = 100.0


def took(ttft: float, queue: float = 0.0) -> Measured:
    """A backend that was measured just now."""
    return Measured().answered(ttft, queue, NOW)


DOWN = took(10.0).failed(NOW, 10.0)


def test_the_fastest() -> None:
    choice = choose([A, B, C], [took(300), took(100), took(200)], "fastest", NOW)

    assert choice is not None
    assert (choice.index, choice.limit_ms) == (1, 500.0)
    assert choice.why == "fastest, 100 ms expected, next 200 ms"


def test_a_queue_makes_slow() -> None:
    choice = choose([A, B], [took(900, queue=850), took(300)], "fastest", NOW)

    assert choice is not None
    assert choice.index == 1


def test_the_unknown_is_measured_first_in_order() -> None:
    choice = choose([A, B, C], [took(1), UNKNOWN, UNKNOWN], "fastest", NOW)

    assert choice is not None
    assert (choice.index, choice.why) == (1, "not measured yet")


def test_who_is_busy_with_us_comes_second_among_equals() -> None:
    choice = choose([A, B], [took(100).begun(), took(100)], "fastest", NOW)

    assert choice is not None
    assert choice.index == 1


def test_in_order_while_the_first_is_within_its_limit() -> None:
    first = choose([A, B], [took(499), took(1)], "order", NOW)
    second = choose([A, B], [took(2501), took(100)], "order", NOW)
    least = choose([A, B], [took(2501), took(1200)], "order", NOW)

    assert first is not None
    assert second is not None
    assert least is not None
    assert (first.index, second.index, least.index) == (0, 1, 1)
    assert second.why == "a is expected to take 2.5 s of 500 ms; next in order"


def test_who_failed_is_avoided_and_the_last_one_has_no_limit() -> None:
    choice = choose([A, B], [DOWN, took(5000)], "fastest", NOW)

    assert choice is not None
    assert (choice.index, choice.limit_ms) == (1, None)
    assert choice.why == "the others have failed lately"


def test_where_all_failed_the_one_that_is_due_first_is_tried() -> None:
    choice = choose([A, B], [DOWN.failed(NOW, 10.0), DOWN], "fastest", NOW)

    assert choice is not None
    assert choice.index == 1


def test_who_was_only_slow_gets_another_chance_when_nobody_else_can() -> None:
    others = choose([A, B], [UNKNOWN, UNKNOWN], "fastest", NOW, slow=[0])
    again = choose([A, B], [UNKNOWN, UNKNOWN], "fastest", NOW, failed=[1], slow=[0])
    nobody = choose([A, B], [UNKNOWN, UNKNOWN], "fastest", NOW, failed=[0, 1], slow=[0])

    assert others is not None
    assert again is not None
    assert (others.index, others.limit_ms) == (1, 500.0)
    assert (again.index, again.limit_ms) == (0, None)
    assert nobody is None


MEASURED = st.sampled_from([UNKNOWN, DOWN, DOWN.begun(), took(1), took(700, 600), took(9e5)])


@given(st.lists(MEASURED, min_size=1, max_size=5), st.sampled_from(["fastest", "order"]), st.data())
def test_somebody_is_chosen_until_all_have_failed(
    measured: list[Measured], preference: str, data: st.DataObject
) -> None:
    candidates = [Candidate(str(at), "", 500.0) for at in range(len(measured))]
    failed: set[int] = set()
    slow: list[int] = []
    for _ in range(2 * len(measured) + 1):
        choice = choose(candidates, measured, preference, NOW, failed=failed, slow=slow)  # type: ignore[arg-type]
        if choice is None:
            break
        assert choice.index not in failed
        assert choice.why
        if choice.limit_ms is not None and data.draw(st.booleans()):
            assert choice.index not in slow
            slow.append(choice.index)
        else:
            failed.add(choice.index)
    assert failed == set(range(len(measured)))
