"""How many tokens to draft, decided from measurements: pure functions and plain accounts.

A step that verifies `k` drafted tokens of a sequence gives `1 + a + ... + a^k` tokens, where `a` is how often a drafted
token is accepted (Leviathan, Kalman, Matias: "Fast Inference from Transformers via Speculative Decoding", 2023). It
costs a batch of more rows and the drafting. Both sides are measured while the engine runs, so that drafts become longer
where they pay, and none are made where they do not: with few accepted, with many streams, with a target so small that
a draft costs as much.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Callable, Hashable, Mapping
from collections.abc import Sequence as Items
from types import MappingProxyType
from typing import NamedTuple

MIN_GAIN = 1.03
"""Drafting has to promise this much more speed than plain decoding."""

_QUICKER, _SLOWER = 0.4, 0.1
"""Weight of a measurement below or above the estimate: what a step takes when nothing disturbs it is what repeats."""

_DOUBT = 3.0
"""A measurement counts as so many times the estimate at most."""

CATCH_UP_SECONDS = 0.02
"""How long a draft model may read in one step what it has not read of a sequence: meanwhile the others wait."""

FIRST_CHUNK = 32
"""Tokens that it reads at first, while it is not known how long that takes."""

_HOPELESS = 0.02
"""A drafted token that is kept more seldom is not thought of."""

_ROW = 0.25
"""What a further row is thought to cost, in parts of what one costs by itself, before it is measured."""

_FORGOTTEN = 256
"""Steps after which a number of rows that did not come up any more is as good as unknown, and worth a try again."""


class Costs:
    """Seconds that a step takes by its number of rows, from what steps took so far."""

    def __init__(self) -> None:
        self._seconds: dict[int, float] = {}
        self._rows: list[int] = []  # sorted
        self._measured: dict[int, int] = {}  # when, in steps
        self._steps = 0

    def __contains__(self, rows: int) -> bool:
        """Whether a step of `rows` was measured."""
        return rows in self._seconds

    def measured(self, rows: int, seconds: float) -> None:
        """A step of `rows` took `seconds`. Conversations grow and machines get busy: the others drift by half of it.

        Fewer rows never cost more: where they seemed to, that was an accident.
        """
        self._steps += 1
        self._measured[rows] = self._steps
        if self._steps % _FORGOTTEN == 0:
            self._forget()
        old = self._seconds.get(rows)
        if old is None:
            old = new = seconds
            self._rows.insert(bisect_left(self._rows, rows), rows)
        else:
            weight = _QUICKER if seconds < old else _SLOWER
            new = old + weight * (min(seconds, _DOUBT * old) - old)
        self._seconds[rows] = new
        drift = (new / old) ** 0.5
        for other in self._rows:
            if other != rows:
                moved = self._seconds[other] * drift
                self._seconds[other] = min(moved, new) if other < rows else moved

    def _forget(self) -> None:
        self._rows = [rows for rows in self._rows if self._steps - self._measured[rows] < _FORGOTTEN]
        self._seconds = {rows: self._seconds[rows] for rows in self._rows}

    def of(self, rows: int) -> float:
        """The estimate for `rows`: on the line between measured ones, and beyond them. 0 when nothing is known."""
        known = self._seconds.get(rows)
        if known is not None or not self._rows:
            return known or 0.0
        at = bisect_left(self._rows, rows)
        if at == 0:
            first = self._rows[0]
            return self._seconds[first] * (0.5 + 0.5 * rows / first)
        low = self._rows[at - 1]
        if at == len(self._rows):
            return self._seconds[low] + (rows - low) * self._slope()
        high = self._rows[at]
        part = (rows - low) / (high - low)
        return self._seconds[low] + part * (self._seconds[high] - self._seconds[low])

    def _slope(self) -> float:
        """Seconds of one more row, over all that was measured; while that is one number of rows, a guess."""
        first, last = self._rows[0], self._rows[-1]
        if first == last:
            return _ROW * self._seconds[last] / last
        return max(0.0, (self._seconds[last] - self._seconds[first]) / (last - first))


class Acceptance:
    """How often drafted tokens are accepted: by kind of draft, for all sequences and for each, the last ones above all.

    A token behind a rejected one was not tried.
    """

    FORGETS, FORGETS_ALL = 0.85, 0.98
    GUESS: Mapping[str, float] = MappingProxyType({"model": 0.7, "copy": 0.55, "echo": 0.35})
    WEIGHT = 4.0

    def __init__(self) -> None:
        self._all: dict[str, tuple[float, float]] = {}
        self._each: dict[Hashable, dict[str, tuple[float, float]]] = {}

    def add(self, key: Hashable, kind: str, accepted: int, drafted: int) -> None:
        """Of `drafted` tokens for the sequence `key` the first `accepted` were."""
        tried = accepted + (accepted < drafted)
        for table, keep in ((self._all, self.FORGETS_ALL), (self._each.setdefault(key, {}), self.FORGETS)):
            hits, trials = table.get(kind, (0.0, 0.0))
            table[kind] = hits * keep + accepted, trials * keep + tried

    def rate(self, key: Hashable, kind: str) -> float:
        """The probability that a drafted token is accepted, of this sequence if enough is known of it."""
        hits, trials = self._all.get(kind, (0.0, 0.0))
        common = (hits + self.GUESS[kind] * self.WEIGHT) / (trials + self.WEIGHT)
        hits, trials = self._each.get(key, {}).get(kind, (0.0, 0.0))
        return (hits + common * self.WEIGHT) / (trials + self.WEIGHT)

    def trials(self, kind: str) -> float:
        """How many drafted tokens the common estimate rests on."""
        return self._all.get(kind, (0.0, 0.0))[1]

    def forget(self, key: Hashable) -> None:
        """The sequence has ended."""
        self._each.pop(key, None)


class Credit:
    """What drafting may still lose, in seconds: so that it never costs more than a few percent, whatever is estimated.

    It begins with the time of `FIRST` plain steps, so that a first short answer loses little, and never exceeds that of
    `STEPS`; decoding adds a small part of its time, drafting that pays what it gained. At worst answers of 500 tokens
    lose STEPS / 500 + EARNED of their speed, and the last try.
    """

    FIRST, STEPS, EARNED = 3, 8, 0.015

    def __init__(self) -> None:
        self._seconds: float | None = None

    def decoded(self, plain: float) -> None:
        """A plain step was made; they take `plain` seconds."""
        earned = self._seconds + self.EARNED * plain if self._seconds is not None else self.FIRST * plain
        self._seconds = min(self.STEPS * plain, earned)

    def settle(self, saved: float, plain: float) -> None:
        """A step with drafts saved so many seconds, or lost them; a plain one takes `plain`."""
        self._seconds = min(self.STEPS * plain, (self._seconds or 0.0) + saved)

    def allows(self, seconds: float = 0.0) -> bool:
        """Whether a loss of `seconds` can be borne."""
        return self._seconds is not None and self._seconds > seconds


def catch_up(behind: int, token_seconds: float, most: int) -> int:
    """How many of the `behind` tokens a draft model reads in one step, at `token_seconds` each (0: not known yet).

    So many that a long prompt is read in few steps, and no more than others can wait for, or `most`, a batch's.
    """
    chunk = int(CATCH_UP_SECONDS / token_seconds) if token_seconds else FIRST_CHUNK
    return max(1, min(chunk, most, behind))


class Want(NamedTuple):
    """A sequence that could have up to `most` drafted tokens, each accepted at `rate`; `free`: they cost nothing."""

    key: int
    rate: float
    most: int
    free: bool


class Lengths(NamedTuple):
    """Tokens to draft by key (none missing means 0), and the speed that this promises against plain decoding."""

    by_key: dict[int, int]
    gain: float


def choose(wants: Items[Want], streams: int, step: Callable[[int], float], draft: Callable[[int], float]) -> Lengths:
    """The lengths that promise most tokens a second.

    `streams` sequences decode in this step, those that want no drafts included. `step`: seconds of a step of so many
    rows; `draft`: seconds to draft one more token for each of so many sequences. Rows are added by their probability to
    be kept, and the best batch on that way is taken: a step's cost may jump between two numbers of rows.
    """
    plain = step(streams)
    most = streams + sum(min(want.most, want.rate / max(1e-9, 1 - want.rate)) for want in wants)
    if most * plain < MIN_GAIN * streams * step(streams + 1):  # not even if further rows cost nothing
        return Lengths({}, 1.0)
    best, lengths = Lengths({}, 1.0), dict.fromkeys((want.key for want in wants), 0)
    heap = [(-want.rate, index) for index, want in enumerate(wants) if want.most > 0]
    heapq.heapify(heap)
    tokens, added, depths = float(streams), 0, [0] * (1 + max((want.most for want in wants), default=0))
    drafting = 0.0
    while heap:
        chance, index = heapq.heappop(heap)
        want = wants[index]
        depth = lengths[want.key]
        if not want.free:
            drafting += draft(depths[depth] + 1) - (draft(depths[depth]) if depths[depth] else 0.0)
            depths[depth] += 1
        lengths[want.key] = depth + 1
        tokens, added = tokens - chance, added + 1
        gain = tokens / streams * plain / (step(streams + added) + drafting)
        if gain > best.gain:
            best = Lengths({key: length for key, length in lengths.items() if length}, gain)
        if depth + 1 < want.most and chance * want.rate < -_HOPELESS:
            heapq.heappush(heap, (chance * want.rate, index))
    return best if best.gain >= MIN_GAIN else Lengths({}, 1.0)
