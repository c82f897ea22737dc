"""How one sequence's tokens are drawn: the filters of llama.cpp's C samplers, and a draw that can be repeated.

The road of an output row: its logits, `logit_bias`, the penalties, llama.cpp's chain (DRY, top-k, typical, top-p,
min-p, temperature: its own order), the grammar, the draw. Bias and penalties touch few tokens, and are done on those in
numpy: at 32k tokens llama.cpp's walk over all of them takes 230 us, this 8. What top-k can only throw away is left out
of the chain's candidates for the same reason.

The grammar comes last, on the candidates that are left: applied to a whole vocabulary it takes milliseconds. Only where
none of them fits, the likeliest tokens that fit are looked for, at first among a few hundred.
"""

from __future__ import annotations

import ctypes
from collections import Counter, deque
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from backends.engine.dice import race
from backends.engine.draw import Draw
from backends.engine.grammar import Grammar
from backends.events import Logprob

if TYPE_CHECKING:
    from backends.engine.runner import Runner

Ids: TypeAlias = np.ndarray[Any, np.dtype[np.int32]]
Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]

END = -1
"""In place of a token: nothing can follow, the answer is complete."""

_SPAN = 8.0
"""Candidates for top-k are looked for among the logits that lie this far below the largest one, at first."""

_EVER = 80.0
"""Tokens this far below are never drawn. llama.cpp's typical sampling computes 0 * log(0) for those far enough."""

_LIKELY = 256
"""Where no candidate fits a grammar, so many of the likeliest tokens are tried before the whole vocabulary."""

_LEAST = -9999.0
"""The log probability that stands for that of an impossible token."""

_ENTRY = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])  # llama_token_data


class Distribution(NamedTuple):
    """Token ids and their probabilities, which sum to 1; every other token's probability is 0."""

    ids: Ids
    probabilities: Floats


class Candidates:
    """llama.cpp's array of candidates, in memory of our own that all samplers of one thread share."""

    def __init__(self, library: Any, n_vocab: int) -> None:
        self._c = library
        self._entries = np.empty(n_vocab, _ENTRY)
        self._all = np.arange(n_vocab, dtype=np.int32)
        self._array = library.llama_token_data_array()
        self._pointer = ctypes.cast(self._entries.ctypes.data, library.llama_token_data_p)
        self._reference = ctypes.byref(self._array)

    def filter(self, sampler: Any, logits: Floats, ids: Ids | None = None) -> tuple[Ids, Floats]:
        """What a C sampler leaves of `ids` (None: of all tokens) with their `logits`: copies, as it made them."""
        ids = self._all if ids is None else ids
        entries = self._entries[: ids.size]
        entries["id"], entries["logit"] = ids, logits
        array = self._array
        array.data, array.size, array.selected, array.sorted = self._pointer, ids.size, -1, False
        self._c.llama_sampler_apply(sampler, self._reference)
        left = self._entries[: array.size]
        return left["id"].copy(), left["logit"].copy()


class Sampler:
    """The sampling state of one sequence: its chain in llama.cpp, what its penalties remember, how much was `drawn`.

    Made, used and closed on the scheduler's thread. The draw is the dice's (dice.py), by seed and place in the answer,
    so that a seed repeats an answer in any company and with any draft. `logprobs` fills with an entry per accepted
    token, if they are asked for.
    """

    def __init__(self, runner: Runner, draw: Draw) -> None:
        self._runner = runner
        self._c = runner.library
        self._draw = draw
        self.drawn = 0  # tokens accepted so far; not counted for greedy, where no dice are thrown
        self._history = _History(draw) if draw.has_penalties else None
        self._bias_ids = np.array([token for token, _ in draw.logit_bias], np.int32)
        self._bias = np.array([value for _, value in draw.logit_bias], np.float32)
        self._grammar = Grammar(runner, draw.grammar) if draw.grammar else None
        self._plain = draw.takes_the_largest
        self._chain: Any = None if draw.greedy and not draw.dry_multiplier else self._make_chain()
        self._row = 0  # the output that was looked at last
        self.logprobs: deque[Logprob] = deque()

    def sample(self, row: int) -> int:
        """Draw from the `row`-th output of the last `decode`, and accept what was drawn. END: nothing can follow.

        Raises BackendError (BAD_REQUEST) when a grammar turns out to be too ambiguous.
        """
        if self._plain:
            return int(self._runner.logits(row).argmax())
        self._row = row
        logits = self._penalized(self._runner.logits(row))
        loose = self._filtered(*self._narrowed(logits))
        token = self.draw(loose)
        # who wins the race against all has won against those that fit; they race again only where the winner does not
        if self._grammar is not None and not self._grammar.fits(np.array([token], np.int32))[0]:
            token = self.draw(self._fitting(logits, loose))
        self.accept(token)
        return token

    def distribution(self, row: int) -> Distribution:
        """What `sample` would draw from. Raises as it does."""
        self._row = row
        logits = self._penalized(self._runner.logits(row))
        loose = self._filtered(*self._narrowed(logits))
        return loose if self._grammar is None else self._fitting(logits, loose)

    def draw(self, distribution: Distribution) -> int:
        """The token of `distribution` for this place of the answer."""
        return race(distribution.ids, distribution.probabilities, self._draw.seed, self.drawn)

    def accept(self, token: int) -> None:
        """`token` has become part of the answer: it follows the output that was looked at last."""
        if token == END:
            return
        if self._draw.top_logprobs is not None:
            self.logprobs.append(self._logprob(token, self._draw.top_logprobs))
        if self._grammar is not None:
            self._grammar.accept(token)
        self.drawn += 1
        if self._history is not None:
            self._history.add(token)
        if self._draw.dry_multiplier:
            self._c.llama_sampler_accept(self._chain, token)

    def foresee(self, row: int, place: int) -> int:
        """What would be drawn from the `row`-th output at `place` of the answer, if it had the history of now."""
        if self._plain:
            return int(self._runner.logits(row).argmax())
        distribution = self.distribution(row)
        return race(distribution.ids, distribution.probabilities, self._draw.seed, place)

    def close(self) -> None:
        """Free what llama.cpp holds."""
        if self._chain is not None:
            self._c.llama_sampler_free(self._chain)
            self._chain = None
        if self._grammar is not None:
            self._grammar.close()
            self._grammar = None

    def _penalized(self, logits: Floats) -> Floats:
        """`logits` with bias and penalties; a copy if there are any."""
        if not self._bias.size and (self._history is None or not self._history.counts):
            return logits
        logits = logits.copy()
        if self._bias.size:
            logits[self._bias_ids] += self._bias
        if self._history is not None:
            self._history.punish(logits)
        return logits

    def _narrowed(self, logits: Floats) -> tuple[Floats, Ids | None]:
        """The logits that the chain has to see, and whose they are; None: of all tokens."""
        draw = self._draw
        if draw.dry_multiplier or not (draw.top_k or draw.typical_p < 1):
            return logits, None
        ids = np.flatnonzero(logits > logits.max() - (_SPAN if draw.top_k else _EVER)).astype(np.int32)
        return (logits[ids], ids) if ids.size >= draw.top_k else (logits, None)

    def _filtered(self, logits: Floats, ids: Ids | None = None) -> Distribution:
        """What the chain leaves of `ids` (None: of all tokens) with their `logits`."""
        if self._chain is None:
            best = int(logits.argmax())
            return _certainly(best if ids is None else int(ids[best]))
        return _softmax(*self._runner.candidates.filter(self._chain, logits, ids))

    def _fitting(self, logits: Floats, loose: Distribution) -> Distribution:
        """What the grammar leaves of `loose`; if nothing, what the chain leaves of the likeliest tokens that fit."""
        assert self._grammar is not None
        weights = loose.probabilities * self._grammar.fits(loose.ids)
        if (total := weights.sum()) > 0:
            return Distribution(loose.ids, weights / total)
        for count in (_LIKELY, logits.size):
            among = np.argpartition(logits, -count)[-count:] if count < logits.size else np.arange(logits.size)
            ids = among.astype(np.int32)
            ids = ids[self._grammar.fits(ids) & np.isfinite(logits[ids])]
            if ids.size:
                return self._filtered(logits[ids], ids)
        return _certainly(END)

    def _logprob(self, token: int, top: int) -> Logprob:
        logits = self._runner.logits(self._row)
        largest = logits.max()
        total = largest + np.log(np.exp(logits - largest).sum())
        likeliest = np.argpartition(logits, -top)[-top:] if top else np.empty(0, np.int64)
        likeliest = likeliest[np.argsort(-logits[likeliest])]

        def entry(each: int, others: tuple[Logprob, ...] = ()) -> Logprob:
            text = self._runner.piece(each).decode("utf-8", "replace")
            return Logprob(text, max(float(logits[each] - total), _LEAST), each, others)

        return entry(token, tuple(entry(int(each)) for each in likeliest))

    def _make_chain(self) -> Any:
        c, draw = self._c, self._draw
        chain = c.llama_sampler_chain_init(c.llama_sampler_chain_default_params())
        if draw.dry_multiplier:
            c.llama_sampler_chain_add(chain, self._make_dry())
        if draw.greedy:
            c.llama_sampler_chain_add(chain, c.llama_sampler_init_top_k(1))
            return chain
        if draw.top_k:
            c.llama_sampler_chain_add(chain, c.llama_sampler_init_top_k(draw.top_k))
        if draw.typical_p < 1:
            c.llama_sampler_chain_add(chain, c.llama_sampler_init_typical(draw.typical_p, 1))
        if draw.top_p < 1:
            c.llama_sampler_chain_add(chain, c.llama_sampler_init_top_p(draw.top_p, 1))
        if draw.min_p > 0:
            c.llama_sampler_chain_add(chain, c.llama_sampler_init_min_p(draw.min_p, 1))
        c.llama_sampler_chain_add(chain, c.llama_sampler_init_temp(draw.temperature))
        return chain

    def _make_dry(self) -> Any:
        draw = self._draw
        breakers = (ctypes.c_char_p * len(_BREAKERS))(*_BREAKERS)
        return self._c.llama_sampler_init_dry(
            self._runner.vocab,
            draw.dry_multiplier,
            draw.dry_base,
            draw.dry_allowed_length,
            draw.dry_penalty_last_n,
            breakers,
            len(breakers),
        )


_BREAKERS = (b"\n", b":", b'"', b"*")
"""What ends a repetition for DRY: llama.cpp's own defaults."""


class _History:
    """The last tokens of an answer, and what is taken off the logits of those that are in it.

    The formula is that of llama.cpp's penalties: a positive logit is divided by `repetition_penalty`, a negative one
    multiplied; then ``count * frequency_penalty + presence_penalty`` is subtracted (OpenAI's definition).
    """

    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        self._tokens: deque[int] = deque()
        self.counts: Counter[int] = Counter()

    def add(self, token: int) -> None:
        self._tokens.append(token)
        self.counts[token] += 1
        if len(self._tokens) > self._draw.penalty_last_n:
            old = self._tokens.popleft()
            self.counts[old] -= 1
            if not self.counts[old]:
                del self.counts[old]

    def punish(self, logits: Floats) -> None:
        """Change `logits` in place."""
        draw, size = self._draw, len(self.counts)
        ids = np.fromiter(self.counts.keys(), np.int32, size)
        counts = np.fromiter(self.counts.values(), np.float32, size)
        found = logits[ids]
        found = np.where(found > 0, found / draw.repetition_penalty, found * draw.repetition_penalty)
        logits[ids] = found - (counts * draw.frequency_penalty + draw.presence_penalty)


def _certainly(token: int) -> Distribution:
    return Distribution(np.array([token], np.int32), np.ones(1, np.float32))


def _softmax(ids: Ids, logits: Floats) -> Distribution:
    weights = np.exp(logits - logits.max())
    return Distribution(ids, weights / weights.sum())
