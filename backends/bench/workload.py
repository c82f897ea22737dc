"""What a load asks, all of it decided before the first request from a seed: lengths, prompts, arrivals.

Prompts are made-up words of two letters: one token each in the models of models.py, one or two in others; what a
server counted is reported, not what was meant. Every prompt begins with its own words unless a share of them is asked
to begin alike, so that a prefix cache helps exactly as far as the workload says.
"""

from __future__ import annotations

import itertools
import json
import random
import re
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from backends.backend import ChatRequest, Feature, Message, Sampling
from backends.errors import BackendError, Code

_WORDS = ["".join(letters) for letters in itertools.product(string.ascii_lowercase, repeat=2)]


class Lengths(msgspec.Struct, frozen=True):
    """A distribution of lengths in tokens, none below 1: `fixed` a, `uniform` from a to b, `normal` with mean a and
    deviation b, `lognormal` with median a and 95th percentile b."""

    kind: Literal["fixed", "uniform", "normal", "lognormal"]
    a: float
    b: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Lengths:
        """``128``, ``16-256``, ``normal:128,32`` or ``lognormal:128,512``. Raises BackendError (CONFIG)."""
        number = r"(\d+(?:\.\d+)?)"
        if match := re.fullmatch(number, text):
            return cls("fixed", float(match[1]))
        if (match := re.fullmatch(f"{number}-{number}", text)) and float(match[1]) <= float(match[2]):
            return cls("uniform", float(match[1]), float(match[2]))
        if match := re.fullmatch(f"normal:{number},{number}", text):
            return cls("normal", float(match[1]), float(match[2]))
        if (match := re.fullmatch(f"lognormal:{number},{number}", text)) and 0 < float(match[1]) <= float(match[2]):
            return cls("lognormal", float(match[1]), float(match[2]))
        raise BackendError(
            Code.CONFIG, f"'{text}' is no length: 128, 16-256, normal:MEAN,DEVIATION or lognormal:MEDIAN,P95"
        )

    def draw(self, rng: random.Random) -> int:
        """One length."""
        match self.kind:
            case "uniform":
                value = rng.uniform(self.a, self.b)
            case "normal":
                value = rng.gauss(self.a, self.b)
            case "lognormal":
                value = self.a * (self.b / self.a) ** (rng.gauss(0, 1) / 1.645)
            case _:
                value = self.a
        return max(1, round(value))


class Workload(msgspec.Struct, frozen=True):
    """What is asked. `shared_prefix` tokens begin `shared_share` of all prompts alike, as their system prompt.

    `prompts`: texts to ask in turn instead of made-up ones. `model` and `temperature` go with each request as they are.
    """

    prompt: Lengths = Lengths("fixed", 128)
    output: Lengths = Lengths("fixed", 64)
    shared_prefix: int = 0
    shared_share: float = 1.0
    prompts: tuple[str, ...] = ()
    model: str | None = None
    temperature: float | None = 0.0
    feature: Feature = "chat"
    seed: int = 0

    def requests(self) -> Iterator[ChatRequest]:
        """Endless; the same for the same workload."""
        rng = random.Random(self.seed)
        prefix = words(rng, self.shared_prefix)
        for number in itertools.count():
            length, limit, shares = self.prompt.draw(rng), self.output.draw(rng), rng.random() < self.shared_share
            rest = max(1, length - (self.shared_prefix if shares else 0))
            text = self.prompts[number % len(self.prompts)] if self.prompts else words(rng, rest)
            system = (Message("system", prefix),) if prefix and shares else ()
            yield ChatRequest(
                messages=(*system, Message("user", text)),
                model=self.model,
                max_tokens=limit,
                sampling=Sampling(temperature=self.temperature, seed=rng.randrange(2**31)),
                feature=self.feature,
            )


def words(rng: random.Random, count: int) -> str:
    """`count` random words."""
    return " ".join(rng.choices(_WORDS, k=count))


def poisson(rate: float, seed: int) -> Iterator[float]:
    """Arrival times of a Poisson process, in seconds: `rate` a second on average. Endless."""
    rng = random.Random(seed)
    at = 0.0
    while True:
        at += rng.expovariate(rate)
        yield at


def read_prompts(path: Path) -> tuple[str, ...]:
    """Prompts of a JSON Lines file: strings, or objects with `prompt` or with `messages`, whose last user turn counts.

    Raises BackendError (CONFIG) naming the line.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BackendError(Code.CONFIG, f"{path}: cannot be read: {error}") from None
    prompts = tuple(_prompt(path, number, line) for number, line in enumerate(lines, 1) if line.strip())
    if not prompts:
        raise BackendError(Code.CONFIG, f"{path}: there is no prompt in it")
    return prompts


def _prompt(path: Path, number: int, line: str) -> str:
    try:
        found: Any = json.loads(line)
        if isinstance(found, dict):
            turns = [turn["content"] for turn in found.get("messages", ()) if turn["role"] == "user"]
            found = found["prompt"] if "prompt" in found else turns[-1]
        if isinstance(found, str) and found:
            return found
    except (ValueError, LookupError, TypeError):
        pass
    raise BackendError(
        Code.CONFIG, f'{path}, line {number}: not a string, not {{"prompt": ...}}, not {{"messages": ...}}'
    )
