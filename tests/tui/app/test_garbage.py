"""The collector of cyclic garbage, from the start of the command to the first picture and after it."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from backends.config import Config, Ui
from tests.fakes.scripted import Scripted
from tui import garbage
from tui.defect_app import DefectApp
from tui.history.history import History


@pytest.fixture(autouse=True)
def collector_as_before() -> Iterator[None]:
    threshold = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*threshold)
    gc.enable()


async def test_nothing_is_collected_before_the_picture_and_the_app_is_never_looked_at_again(history: History) -> None:
    garbage.put_off()
    app = DefectApp(
        config=Config(ui=Ui()),
        open_backend=lambda _: Scripted(),
        backend_name="demo",
        history=history,
        conversation=None,
    )
    assert not gc.isenabled()
    async with app.run_test() as pilot:
        await pilot.pause()
        assert gc.isenabled()
        assert gc.get_freeze_count() > 10_000
        assert gc.get_threshold()[2] > 100
        assert not any(one is app for one in gc.get_objects())  # those that are frozen are not among them


def test_younger_garbage_is_collected_as_ever() -> None:
    before = gc.get_threshold()[:2]
    garbage.put_off()
    garbage.settle()
    assert gc.get_threshold()[:2] == before


def test_what_is_put_off_for_a_while_goes_on_as_it_was() -> None:
    with garbage.later():
        with garbage.later():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()
