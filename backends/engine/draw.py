"""The rule by which a request's tokens are drawn: its sampling, completed with defaults and checked.

Plain data, carried out by sampler.py.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping

import msgspec

from backends.backend import Sampling
from backends.errors import BackendError, Code

_SEEDS = 0xFFFFFFFF


class Draw(msgspec.Struct, frozen=True):
    """A complete sampling rule. Temperature 0 is greedy: the likeliest token, nothing drawn.

    `logit_bias`: what is added to the logits of tokens, each at most once. The penalties look at the last
    `penalty_last_n` tokens of the answer, never at the prompt: what its sources say may be quoted. 0, and 1 for
    `top_p`, `typical_p` and `repetition_penalty`, switches a rule off.
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

    @property
    def greedy(self) -> bool:
        """True when the likeliest token is taken."""
        return self.temperature == 0

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


def resolve(sampling: Sampling, defaults: Draw) -> Draw:
    """The rule for one request. Raises BackendError (BAD_REQUEST) that names the value and its range."""
    given = {
        name: value
        for name in ("temperature", "top_k", "top_p", "min_p")
        if (value := getattr(sampling, name)) is not None
    }
    seed = random.randrange(_SEEDS) if sampling.seed is None else sampling.seed % _SEEDS
    draw = msgspec.structs.replace(defaults, **given, seed=seed)
    if problem := _problem(draw):
        raise BackendError(Code.BAD_REQUEST, f"sampling: {problem}")
    return draw


def _problem(draw: Draw) -> str | None:
    if not (math.isfinite(draw.temperature) and 0 <= draw.temperature <= 100):
        return f"temperature {draw.temperature} is not between 0 and 100"
    if not 0 <= draw.top_k < 2**31:
        return f"top_k {draw.top_k} is negative or too large (0 switches it off)"
    if not 0 < draw.top_p <= 1:
        return f"top_p {draw.top_p} is not above 0 and at most 1"
    if not 0 <= draw.min_p <= 1:
        return f"min_p {draw.min_p} is not between 0 and 1"
    return None
