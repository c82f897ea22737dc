"""Which measurements are taken, and their order: the clients take turns, so that all meet the same machine."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests.bench.screen import measures
from tests.bench.screen.clients import ALONE, LLM, PLAIN_KEYBOARD, Client
from tests.bench.screen.measures import Result
from tests.bench.screen.stage import NotReady


class Cell(NamedTuple):
    """An answer's length, and its tokens a second."""

    tokens: int
    rate: int

    @property
    def words(self) -> str:
        """As the table has it."""
        return f"{self.tokens:,} tokens at {self.rate:,}/s"


Taken = Counter[tuple[str, Cell | None, str]]
"""How often something was measured: what, of which cell, of which client."""

FULL_CELLS = tuple(Cell(tokens, rate) for tokens in (500, 2000, 8000) for rate in (100, 500, 2000))
ALONE_RATE = 500
"""Tokens a second at which the transcript is measured without the app around it."""


@dataclass(frozen=True)
class Plan:
    """How much is measured: cells of the stream, and how often the rest is done. `idle`: seconds of doing nothing."""

    cells: tuple[Cell, ...] = FULL_CELLS
    runs: int = 1
    starts: int = 7
    enters: int = 20
    keys: int = 40
    cancels: int = 20
    idle: float = 20.0


QUICK = Plan(cells=(Cell(500, 500), Cell(2000, 2000)), starts=2, enters=4, keys=8, cancels=2, idle=0)


class Row(NamedTuple):
    """One result of one client; `what` is start, stream, enter, idle, echo or cancel."""

    what: str
    cell: Cell | None
    client: str
    result: Result


class Step(NamedTuple):
    """One measurement to take, and about how many seconds that takes."""

    what: str
    cell: Cell | None
    client: Client
    measure: Callable[[], Result]
    seconds: float

    @property
    def key(self) -> tuple[str, Cell | None, str]:
        """What it is counted under."""
        return self.what, self.cell, self.client.name


def carry_out(
    plan: Plan, clients: Sequence[Client], taken: Taken, left: Callable[[], float], tell: Callable[[str], None]
) -> Iterator[Row]:
    """Take every measurement that was not `taken`, while there are enough seconds `left`.

    A client that cannot be measured is told of and goes without that figure.
    """
    taken = taken.copy()
    for steps in (_starts(plan, clients, taken.copy()), _streams(plan, clients), _keys(plan, clients)):
        for step in steps:
            if taken[step.key] > 0:
                taken[step.key] -= 1
                continue
            if left() < step.seconds:
                tell("the time is up: the same command with --resume goes on")
                return
            tell(f"{step.what}{f', {step.cell.words}' if step.cell else ''}: {step.client.name}")
            try:
                yield Row(step.what, step.cell, step.client.name, step.measure())
            except NotReady as problem:
                tell(str(problem))


def _starts(plan: Plan, clients: Sequence[Client], taken: Taken) -> Iterator[Step]:
    """Each client keeps its home; its first start there fills caches and writes files, and is not counted."""
    with ExitStack() as stack:
        homes: dict[str, Path] = {}
        for _ in range(plan.starts):
            for client in clients:
                key = ("start", None, client.name)
                if taken[key] > 0:
                    taken[key] -= 1
                elif client.name not in homes:
                    homes[client.name] = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                    measures.start(client, homes[client.name])
                measure = partial(measures.start, client, homes.get(client.name, Path()))
                yield Step("start", None, client, measure, 5)


def _streams(plan: Plan, clients: Sequence[Client]) -> Iterator[Step]:
    for run in range(plan.runs):
        for cell in plan.cells:
            for client in clients if run % 2 == 0 else clients[::-1]:
                if client.name != ALONE or cell.rate == ALONE_RATE:
                    seconds = 20 + cell.tokens / min(cell.rate, 250)
                    yield Step("stream", cell, client, partial(measures.stream, client, *cell), seconds)


def _keys(plan: Plan, clients: Sequence[Client]) -> Iterator[Step]:
    """`llm` has no screen: the kernel echoes its keys, and Ctrl+C ends the program."""
    apps = [client for client in clients if client.name not in (LLM, ALONE)]
    for client in clients if plan.enters else ():
        if client.name != ALONE:
            yield Step("enter", None, client, partial(measures.enter, client, plan.enters), 15 + 2 * plan.enters)
    for client in apps if plan.idle else ():
        yield Step("idle", None, client, partial(measures.idle, client, plan.idle), plan.idle + 10)
    for client in apps if plan.keys else ():
        yield Step("echo", None, client, partial(measures.echo, client, plan.keys), 45)
    plain = [replace(client, name=client.name + PLAIN_KEYBOARD, kitty=False) for client in apps[:1]]
    for client in (*apps, *plain) if plan.cancels else ():
        yield Step("cancel", None, client, partial(measures.cancel, client, plan.cancels), 15 + 3 * plan.cancels)
