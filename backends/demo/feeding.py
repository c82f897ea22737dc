"""Batches from several processes, for a device that reads text faster than one process writes it."""

from __future__ import annotations

import itertools
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.queues import Queue
from pathlib import Path

from backends.demo.batches import Batch, Packer
from backends.demo.corpus import Corpus
from backends.demo.tokenizer import Vocabulary

_AHEAD = 4
"""Batches that a writer makes in advance."""


@contextmanager
def writers(
    count: int, tokenizer: Path, seed: int, tokens: int, *, sample_share: float, cut: bool
) -> Iterator[Iterator[Batch]]:
    """Batches of `tokens` tokens from `count` processes in turn: the same seed gives the same batches."""
    context = multiprocessing.get_context("spawn")
    queues: list[Queue[Batch]] = [context.Queue(_AHEAD) for _ in range(count)]
    processes = [
        context.Process(target=_write, args=(queue, tokenizer, f"{seed}/{i}", tokens, sample_share, cut), daemon=True)
        for i, queue in enumerate(queues)
    ]
    for process in processes:
        process.start()
    try:
        yield (queue.get() for queue in itertools.cycle(queues))
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _write(queue: Queue[Batch], tokenizer: Path, seed: str, tokens: int, sample_share: float, cut: bool) -> None:
    corpus = Corpus(seed, sample_share=sample_share)
    for batch in Packer(Vocabulary.load(tokenizer), corpus, cut=cut).batches(tokens):
        queue.put(batch)
