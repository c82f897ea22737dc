"""Many turns in numbers: percentiles, rates and goodput, over all and by backend, model, feature and day. Pure.

Percentiles of TTFT are over the turns that came to a token, those of TPOT and total over those that were answered. A
rate is a share of all turns; goodput is the share that was answered within its feature's budget, of those that nobody
cancelled. The cached share is that of the prompts' tokens, over the turns whose backend tells it.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Literal, get_args

import msgspec

from backends.backend import Feature
from backends.telemetry.spread import Spread, spread_of_sorted

Dimension = Literal["backend", "model", "feature", "day"]
DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)

Metric = Literal["ttft", "tpot", "total", "queue"]
METRICS: tuple[Metric, ...] = get_args(Metric)


class Cell(msgspec.Struct, kw_only=True):
    """The turns of one backend, model, feature and day: what can be added up, and the values that cannot.

    `values` are milliseconds, in order. `failed`: turns that ended in an error or were interrupted. `prompt_tokens` are
    those of the turns that tell their `cached_tokens`, `accepted_tokens` belong to `draft_tokens`.
    """

    backend: str
    model: str
    feature: Feature
    day: str
    turns: int = 0
    failed: int = 0
    cancelled: int = 0
    good: int = 0
    tokens: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    draft_tokens: int = 0
    accepted_tokens: int = 0
    cost: float | None = None
    values: dict[Metric, Sequence[float]] = {}


_ADDED = (
    *("turns", "failed", "cancelled", "good", "tokens", "prompt_tokens", "cached_tokens", "draft_tokens"),
    "accepted_tokens",
)


class Group(msgspec.Struct, frozen=True):
    """Some turns in numbers; times in milliseconds, rates and shares from 0 to 1, None where nothing tells them.

    `accepted_share`: of drafted tokens. `cost` in US dollars.
    """

    name: str
    turns: int
    ttft: Spread | None
    tpot: Spread | None
    total: Spread | None
    queue: Spread | None
    tokens: int
    error_rate: float
    cancel_rate: float
    goodput: float | None
    cached_share: float | None
    accepted_share: float | None
    cost: float | None


class Statistics(msgspec.Struct, frozen=True):
    """`overall`, and the groups `by` each dimension: days in order, else the largest first."""

    overall: Group
    by: dict[Dimension, tuple[Group, ...]]


def statistics(cells: Sequence[Cell], dimensions: Iterable[Dimension] = DIMENSIONS) -> Statistics:
    """What the turns in `cells` come to."""
    whole = _over_days(cells)
    by = {dimension: _grouped(cells if dimension == "day" else whole, dimension) for dimension in dimensions}
    return Statistics(summed("all", whole), by)


def summed(name: str, cells: Iterable[Cell]) -> Group:
    """All of `cells` as one group."""
    one = _added(Cell(backend="", model="", feature="chat", day=""), cells)
    return Group(
        name=name,
        turns=one.turns,
        **{metric: spread_of_sorted(one.values[metric]) for metric in METRICS},
        tokens=one.tokens,
        error_rate=one.failed / one.turns if one.turns else 0.0,
        cancel_rate=one.cancelled / one.turns if one.turns else 0.0,
        goodput=_share(one.good, one.turns - one.cancelled),
        cached_share=_share(one.cached_tokens, one.prompt_tokens),
        accepted_share=_share(one.accepted_tokens, one.draft_tokens),
        cost=one.cost,
    )


def _over_days(cells: Iterable[Cell]) -> list[Cell]:
    """One cell for all days of a backend, model and feature: the other dimensions have few of those to go through."""
    days: dict[tuple[str, str, str], list[Cell]] = defaultdict(list)
    for cell in cells:
        days[cell.backend, cell.model, cell.feature].append(cell)
    return [_added(some[0], some) for some in days.values()]


def _added(named: Cell, cells: Iterable[Cell]) -> Cell:
    """What `cells` add up to, named like `named`."""
    cells = list(cells)
    costs = [cell.cost for cell in cells if cell.cost is not None]
    return msgspec.structs.replace(
        named,
        **{field: sum(getattr(cell, field) for cell in cells) for field in _ADDED},
        cost=math.fsum(costs) if costs else None,
        values={metric: merged(cells, metric) for metric in METRICS},
    )


def merged(cells: Iterable[Cell], metric: Metric) -> Sequence[float]:
    """All values of `metric`, in order."""
    runs = [run for cell in cells if (run := cell.values.get(metric))]
    if len(runs) == 1:
        return runs[0]
    values = list(itertools.chain.from_iterable(runs))
    values.sort()  # runs that are in order are merged, not sorted again
    return values


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _grouped(cells: Iterable[Cell], dimension: Dimension) -> tuple[Group, ...]:
    members: dict[str, list[Cell]] = defaultdict(list)
    for cell in cells:
        members[getattr(cell, dimension) or "(not told)"].append(cell)
    groups = [summed(name, some) for name, some in members.items()]
    if dimension == "day":
        return tuple(sorted(groups, key=lambda group: group.name))
    return tuple(sorted(groups, key=lambda group: (-group.turns, group.name)))
