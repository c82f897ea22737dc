"""What happens next, decided from plain data: who is admitted, who is refused, and what one step computes.

Pure functions; the step loop (loop.py) carries out what they say. Requests are served in the order they came: nobody
overtakes, so nobody starves.
"""

from __future__ import annotations

from collections.abc import Sequence as Items

import msgspec


class Candidate(msgspec.Struct, frozen=True):
    """A waiting request: `cells` is what it may need of the KV cache, prompt and answer together."""

    key: int
    cells: int


class Active(msgspec.Struct, frozen=True):
    """An admitted sequence: `pending` tokens of it are known but not computed. 1: it decodes; more: it prefills.

    `stretch`: the part of several prompts in which it stands, the same number for all of them; 0: its own.
    """

    key: int
    pending: int
    stretch: int = 0


class Chunk(msgspec.Struct, frozen=True):
    """The work of one sequence in one step: its next `tokens` tokens; `last` if they are all that is pending."""

    key: int
    tokens: int
    last: bool


def plan_step(active: Items[Active], prefill_budget: int, batch_limit: int) -> list[Chunk]:
    """The next batch: a decode token of everyone who decodes, then prompts in order of admission, within the budgets.

    What is in several prompts is computed once, for the first of them. `prefill_budget`: tokens of prompts per step;
    `batch_limit`: tokens of the whole batch.
    """
    step = [Chunk(sequence.key, 1, True) for sequence in active if sequence.pending == 1][:batch_limit]
    budget = min(prefill_budget, batch_limit - len(step))
    stretches = set[int]()
    for sequence in active:
        if sequence.pending > 1 and budget > 0 and (not sequence.stretch or sequence.stretch not in stretches):
            stretches.add(sequence.stretch)
            tokens = min(sequence.pending, budget)
            step.append(Chunk(sequence.key, tokens, tokens == sequence.pending))
            budget -= tokens
    return step


def admit(waiting: Items[Candidate], free_slots: int, free_cells: int) -> list[int]:
    """The keys of those who may start now: from the head of the queue, as long as slots and unpromised cells last."""
    admitted = []
    for candidate in waiting[:free_slots]:
        if candidate.cells > free_cells:
            break
        free_cells -= candidate.cells
        admitted.append(candidate.key)
    return admitted


def answer_limit(prompt: int, asked: int | None, default: int, n_ctx: int) -> int:
    """How many tokens the answer may have: what was asked for, else the default cut to what the prompt leaves.

    0 or less when prompt and answer do not fit `n_ctx`: the request has to be refused.
    """
    room = n_ctx - prompt
    if asked is None:
        return min(default, room)
    return asked if asked <= room else 0
