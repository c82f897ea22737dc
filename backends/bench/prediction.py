"""What continuous batching should gain over static batching, by the measured cost of a step. Pure.

Both compute the same prompts and make the same tokens; static batching makes many of them in steps that hold fewer
sequences, as nobody takes the place of who has ended. So what there is to gain depends on what a step costs by the
number of its sequences: much on a GPU, where it hardly costs more, little on a CPU.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

Step = Callable[[int], float]
"""Seconds of a step of so many sequences."""


def step_cost(measured: Mapping[int, float]) -> Step:
    """The cost by the number of sequences, on the lines between what was `measured` (at least one)."""
    points = sorted(measured.items())

    def cost(streams: int) -> float:
        for (low, first), (high, last) in pairwise(points):
            if low <= streams <= high:
                return first + (last - first) * (streams - low) / (high - low)
        return measured[min(measured, key=lambda known: abs(known - streams))]

    return cost


def continuous_seconds(tokens: Sequence[int], streams: int, step: Step) -> float:
    """Seconds to make answers of so many `tokens`, in this order, the next one beginning whenever one has ended."""
    waiting = list(reversed(tokens))
    ends: list[int] = []
    now, seconds = 0, 0.0
    while waiting or ends:
        while waiting and len(ends) < streams:
            heapq.heappush(ends, now + waiting.pop())
        end = heapq.heappop(ends)
        seconds += (end - now) * step(len(ends) + 1)
        now = end
    return seconds


def static_seconds(batches: Sequence[Sequence[int]], step: Step) -> float:
    """The same in `batches`, the next one beginning when all of the last have ended."""
    return sum(continuous_seconds(batch, len(batch), step) for batch in batches)


def predicted_gain(batches: Sequence[Sequence[int]], streams: int, step: Step, prompts: float) -> float:
    """How many times as fast continuous batching should be; `prompts`: seconds that all prompts take, in both."""
    tokens = [length for batch in batches for length in batch]
    return (prompts + static_seconds(batches, step)) / (prompts + continuous_seconds(tokens, streams, step))
