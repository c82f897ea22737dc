"""Microseconds that drawing one token takes, by rule and size of the vocabulary.

    python -m tests.bench.sampling

Real samplers on a real llama.cpp vocabulary, the logits of one real output; the median of many draws. With a grammar
what is likely decides: the model's own choice fits; it does not, but one of the likeliest does ("misfit"); or none of
those, and the whole vocabulary has to be looked through. A model that was asked for JSON mostly chooses what fits.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from unittest import mock

import numpy as np

from backends.engine import EngineOptions
from backends.engine.draw import Draw
from backends.engine.json_schema import to_gbnf
from backends.engine.runner import Job, Runner
from tests.fakes import gguf_model

DRAWS = 400
SCHEMA = {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}}}}
RULES = {
    "greedy": Draw(temperature=0),
    "default (top-k 40, top-p, min-p, temperature)": Draw(),
    "default + penalties, 64 tokens": Draw(repetition_penalty=1.1, presence_penalty=0.1),
    "default + DRY": Draw(dry_multiplier=0.8),
    "default + logit bias of 10": Draw(logit_bias=tuple((token, -1.0) for token in range(300, 310))),
    "default + log probabilities, top 5": Draw(top_logprobs=5),
    "temperature alone": Draw(top_k=0, top_p=1.0, min_p=0.0),
    "grammar, the choice fits: greedy": Draw(temperature=0, grammar=r"root ::= [^\x00]*"),
    "grammar, the choice fits: default": Draw(grammar=r"root ::= [^\x00]*"),
    "grammar, misfit: one of the likeliest fits": Draw(temperature=0, grammar="root ::= [a-z]+"),
    "grammar, misfit: nothing likely fits": Draw(temperature=0, grammar=r'root ::= "\u00e9"+'),
    "JSON schema, misfit at every token": Draw(temperature=0, grammar=to_gbnf(SCHEMA)),
}


def runner(folder: Path, size: int) -> Runner:
    """A tiny model whose vocabulary is filled up to `size` with words of random letters."""
    rng = np.random.default_rng(1)
    vocabulary = gguf_model.vocabulary

    def filled() -> tuple[list[str], list[int], list[str]]:
        tokens, types, merges = vocabulary()
        words = dict.fromkeys(tokens)
        while len(words) < size:
            letters = rng.integers(97, 123, rng.integers(2, 9))
            words["Ġ" * int(rng.integers(2)) + bytes(letters.astype(np.uint8)).decode()] = None
        return list(words), types + [gguf_model.NORMAL] * (size - len(types)), merges

    with mock.patch.object(gguf_model, "vocabulary", filled):
        path = gguf_model.write_model(folder / f"{size}.gguf")
    return Runner(EngineOptions(model=str(path), n_threads=1), lambda part: True)


def measure(runner: Runner, draw: Draw) -> float:
    """The median of microseconds per draw."""
    took: list[float] = []
    sampler = runner.make_sampler(draw)
    for _ in range(DRAWS):
        begun = time.perf_counter()
        token = sampler.sample(0)
        took.append(time.perf_counter() - begun)
        if runner.ends(token):
            sampler.close()
            sampler = runner.make_sampler(draw)
    sampler.close()
    return 1e6 * statistics.median(took)


def main() -> None:
    """Print the table."""
    sizes = (2_048, 32_000, 152_000)
    print(f"{'us per token':48}" + "".join(f"{size:>10,}" for size in sizes))
    with tempfile.TemporaryDirectory() as folder:
        runners = [runner(Path(folder), size) for size in sizes]
        for each in runners:
            assert each.decode([Job(0, 0, each.tokenize("the plan", False), 1)]) == 0
            _ = each.silent  # made once per model
        for name, draw in RULES.items():
            print(f"{name:48}" + "".join(f"{measure(each, draw):10.1f}" for each in runners), flush=True)
        for each in runners:
            each.close()


if __name__ == "__main__":
    main()
