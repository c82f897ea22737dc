"""Python's collector of cyclic garbage, kept out of the start and out of the way of frames.

A full collection looks at every object there is: 15 ms while starting, for nothing, and up to 50 ms in the middle of an
answer. Younger objects, among which the garbage is, go on being looked at as ever, 1 to 2 ms at a time.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_RARELY = 1_000
"""Collections of the middle generation per full one, by default 10: in practice one in about 80 long answers."""


def put_off() -> None:
    """Collect nothing until `settle`: what a start makes, it keeps."""
    gc.disable()


def settle() -> None:
    """The app stands: what is there now stays, and is never looked at again."""
    gc.freeze()
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, _RARELY)
    gc.enable()


@contextmanager
def later() -> Iterator[None]:
    """Collect nothing within, unless that is so anyway."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
