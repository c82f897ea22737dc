"""Which measurements are taken, and their order: the clients take turns, so that all meet the same machine."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests.bench.screen import measures
from tests.bench.screen.clients import LLM, PLAIN_KEYBOARD, Client
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


FULL_CELLS = tuple(Cell(tokens, rate) for tokens in (500, 2000, 8000) for rate in (100, 500, 2000))


@dataclass(frozen=True)
class Plan:
    """How much is measured: cells of the stream, and how often the rest is done."""

    cells: tuple[Cell, ...] = FULL_CELLS
    runs: int = 1
    starts: int = 7
    keys: int = 40
    cancels: int = 20


QUICK = Plan(cells=(Cell(500, 500), Cell(2000, 2000)), starts=2, keys=8, cancels=2)


class Row(NamedTuple):
    """One result of one client; `what` is start, stream, echo or cancel."""

    what: str
    cell: Cell | None
    client: str
    result: Result


def carry_out(plan: Plan, clients: Sequence[Client], tell: Callable[[str], None]) -> Iterator[Row]:
    """Take every measurement. A client that cannot be measured is told of and goes without that figure."""
    for work in (_starts(plan, clients), _streams(plan, clients), _keys(plan, clients)):
        for what, cell, client, measure in work:
            tell(f"{what}{f', {cell.words}' if cell else ''}: {client.name}")
            try:
                yield Row(what, cell, client.name, measure())
            except NotReady as problem:
                tell(str(problem))


Step = tuple[str, Cell | None, Client, Callable[[], Result]]


def _starts(plan: Plan, clients: Sequence[Client]) -> Iterator[Step]:
    """Each client keeps its home; its first start, which fills caches and writes files, is not counted."""
    with ExitStack() as stack:
        homes = {client.name: Path(stack.enter_context(tempfile.TemporaryDirectory())) for client in clients}
        for run in range(plan.starts + 1):
            for client in clients:
                yield (
                    "first start" if run == 0 else "start",
                    None,
                    client,
                    partial(measures.start, client, homes[client.name]),
                )


def _streams(plan: Plan, clients: Sequence[Client]) -> Iterator[Step]:
    for run in range(plan.runs):
        for cell in plan.cells:
            for client in clients if run % 2 == 0 else clients[::-1]:
                yield "stream", cell, client, partial(measures.stream, client, *cell)


def _keys(plan: Plan, clients: Sequence[Client]) -> Iterator[Step]:
    """`llm` has no screen: the kernel echoes its keys, and Ctrl+C ends the program."""
    apps = [client for client in clients if client.name != LLM]
    for client in apps:
        yield "echo", None, client, partial(measures.echo, client, plan.keys)
    plain = [replace(client, name=client.name + PLAIN_KEYBOARD, kitty=False) for client in apps[:1]]
    for client in (*apps, *plain):
        yield "cancel", None, client, partial(measures.cancel, client, plan.cancels)
