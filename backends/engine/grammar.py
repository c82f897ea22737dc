"""A grammar at work: which tokens may follow what was said so far."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from backends.engine.gbnf import ROOT, refused

if TYPE_CHECKING:
    from backends.engine.runner import Runner
    from backends.engine.sampler import Ids

PATIENCE = 1.0
"""Seconds that one look at the grammar may take: an ambiguous one can double its work with every character."""


class Grammar:
    """The state of one GBNF grammar in llama.cpp.

    llama.cpp ends the process when a token is accepted that does not fit, or an end-of-turn token too early. So nothing
    is accepted here that was not looked at, and an end never.
    """

    def __init__(self, runner: Runner, source: str) -> None:
        """Raises BackendError (BAD_REQUEST) when llama.cpp does not take `source`."""
        self._runner = runner
        self._c = runner.library
        self._sampler: Any = self._c.llama_sampler_init_grammar(runner.vocab, source.encode(), ROOT.encode())
        if not self._sampler:
            raise refused("llama.cpp does not take it: is a rule left-recursive, or repeated too often?")

    def fits(self, ids: Ids) -> Any:
        """Which of `ids` may follow: an array of bool. An end-of-turn token may where the text is complete.

        Raises BackendError (BAD_REQUEST) when that took too long.
        """
        began = time.perf_counter()
        _, marks = self._runner.candidates.filter(self._sampler, np.zeros(ids.size, np.float32), ids)
        self._check(began)
        return np.isfinite(marks) & ~self._runner.silent[ids]

    def accept(self, token: int) -> None:
        """`token` follows. Raises ValueError if it does not fit, BackendError as `fits` does."""
        if not self.fits(np.array([token], np.int32))[0]:
            raise ValueError(f"token {token} does not fit the grammar")
        if not self._runner.ends(token):
            began = time.perf_counter()
            self._c.llama_sampler_accept(self._sampler, token)
            self._check(began)

    def close(self) -> None:
        """Free it."""
        if self._sampler:
            self._c.llama_sampler_free(self._sampler)
            self._sampler = None

    def _check(self, began: float) -> None:
        if time.perf_counter() - began > PATIENCE:
            raise refused(f"it is too ambiguous: one token took more than {PATIENCE:g} s")
