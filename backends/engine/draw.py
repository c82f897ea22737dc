"""The rule by which a request's tokens are drawn: its sampling, completed with defaults and checked.

Plain data, carried out by sampler.py.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping

import msgspec

from backends.backend import Sampling
from backends.engine import gbnf
from backends.errors import BackendError, Code

_SEEDS = 0xFFFFFFFF

MAX_BIASED = 1024
"""Entries of a `logit_bias`."""


class Draw(msgspec.Struct, frozen=True):
    """A complete sampling rule. Temperature 0 is greedy: the likeliest token, nothing drawn.

    `logit_bias`: what is added to the logits of tokens, each at most once. The penalties look at the last
    `penalty_last_n` tokens of the answer, never at the prompt: what its sources say may be quoted. `grammar`: GBNF,
    empty for none. 0, and 1 for `top_p`, `typical_p` and `repetition_penalty`, switches a rule off.
    """

    temperature: float = 0.8
    top_k: int = 40
    top_p: float = 0.95
    min_p: float = 0.05
    typical_p: float = 1.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    penalty_last_n: int = 64
    dry_multiplier: float = 0.0
    dry_base: float = 1.75
    dry_allowed_length: int = 2
    dry_penalty_last_n: int = 1024
    seed: int = 0
    logit_bias: tuple[tuple[int, float], ...] = ()
    grammar: str = ""
    top_logprobs: int | None = None

    @property
    def greedy(self) -> bool:
        """True when the likeliest token is taken."""
        return self.temperature == 0

    @property
    def takes_the_largest(self) -> bool:
        """True when the token with the largest logit is taken, and nothing else matters."""
        ruled = self.has_penalties or self.dry_multiplier or self.logit_bias or self.grammar
        return self.greedy and not ruled and self.top_logprobs is None

    @property
    def unconditional(self) -> Draw:
        """The same without what looks at the answer so far: how a draft model draws, which may be wrong."""
        off = {"repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0, "dry_multiplier": 0.0}
        return msgspec.structs.replace(self, **off, grammar="", top_logprobs=None)

    @property
    def has_penalties(self) -> bool:
        """True when the tokens of the answer so far matter to the next one, DRY aside."""
        off = self.repetition_penalty == 1 and self.presence_penalty == 0 and self.frequency_penalty == 0
        return not off and self.penalty_last_n > 0


def model_defaults(metadata: Mapping[str, str]) -> Draw:
    """The sampling that a GGUF recommends (``general.sampling.*``), else llama.cpp's own defaults.

    A recommendation that makes no sense is ignored.
    """
    draw = Draw()
    for field, key in (("temperature", "temp"), ("top_k", "top_k"), ("top_p", "top_p"), ("min_p", "min_p")):
        try:
            value = type(getattr(draw, field))(metadata[f"general.sampling.{key}"])
            changed = msgspec.structs.replace(draw, **{field: value})
        except (KeyError, ValueError):
            continue
        if _problem(changed) is None:
            draw = changed
    return draw


def resolve(sampling: Sampling, defaults: Draw, tokenize: Callable[[str], list[int]], n_vocab: int) -> Draw:
    """The rule for one request. Raises BackendError (BAD_REQUEST) that names the value and its range."""
    given = {name: value for name in _LIMITS if (value := getattr(sampling, name)) is not None}
    seed = random.randrange(_SEEDS) if sampling.seed is None else sampling.seed % _SEEDS
    draw = msgspec.structs.replace(
        defaults,
        **given,
        seed=seed,
        logit_bias=_bias(sampling.logit_bias, tokenize, n_vocab),
        grammar=_grammar(sampling),
        top_logprobs=sampling.top_logprobs,
    )
    if problem := _problem(draw):
        raise _refused(problem)
    return draw


def _bias(
    pairs: tuple[tuple[int | str, float], ...], tokenize: Callable[[str], list[int]], n_vocab: int
) -> tuple[tuple[int, float], ...]:
    """One sum per token; what comes to -100 or less is a ban. Raises BackendError (BAD_REQUEST)."""
    if len(pairs) > MAX_BIASED:
        raise _refused(f"logit_bias has {len(pairs):,} entries, at most {MAX_BIASED:,} are taken")
    sums: dict[int, float] = {}
    for token, value in pairs:
        if not -100 <= value <= 100:
            raise _refused(f"logit_bias of {token!r}: {value} is not between -100 and 100")
        if isinstance(token, int) and not 0 <= token < n_vocab:
            raise _refused(f"logit_bias: the model has no token {token}, its {n_vocab:,} are numbered from 0")
        for each in {token} if isinstance(token, int) else set(tokenize(token)):
            sums[each] = sums.get(each, 0.0) + value
    return tuple((token, value if value > -100 else -math.inf) for token, value in sums.items())


def _grammar(sampling: Sampling) -> str:
    """The GBNF that the answer has to follow, empty for none. Raises BackendError (BAD_REQUEST)."""
    if sampling.json_schema is None:
        if sampling.grammar:
            gbnf.check(sampling.grammar)
        return sampling.grammar
    if sampling.grammar:
        raise _refused("grammar and json_schema exclude each other")
    from backends.engine import json_schema

    return json_schema.to_gbnf(sampling.json_schema)


_LIMITS: dict[str, tuple[float, float]] = {
    "temperature": (0, 100),
    "top_k": (0, 2**31 - 1),
    "top_p": (1e-6, 1),
    "min_p": (0, 1),
    "typical_p": (1e-6, 1),
    "repetition_penalty": (0.01, 100),
    "presence_penalty": (-100, 100),
    "frequency_penalty": (-100, 100),
    "penalty_last_n": (0, 1 << 16),
    "dry_multiplier": (0, 100),
    "dry_base": (1, 100),
    "dry_allowed_length": (1, 1 << 16),
    "dry_penalty_last_n": (0, 1 << 16),
}
"""From where to where the values may go, both included."""

_MAX_TOP_LOGPROBS = 100


def _problem(draw: Draw) -> str | None:
    for name, (low, high) in _LIMITS.items():
        value = getattr(draw, name)
        if not low <= value <= high:  # false for NaN as well
            return f"{name} {value} is not between {low:g} and {high:g}"
    if draw.top_logprobs is not None and not 0 <= draw.top_logprobs <= _MAX_TOP_LOGPROBS:
        return f"top_logprobs {draw.top_logprobs} is not between 0 and {_MAX_TOP_LOGPROBS}"
    return None


def _refused(problem: str) -> BackendError:
    return BackendError(Code.BAD_REQUEST, f"sampling: {problem}")
