"""Make the word vectors that also find the sample documents: ``python -m backends.demo.meaning``, with PyTorch.

Questions in the wordings that the demo model is trained on, each against the passages of all sections of one company's
handbook: the right one is to be nearest, and nearer than WORD_VECTORS_FLOOR; questions on anything else near none.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch

from backends.demo import WORD_VECTORS, WORD_VECTORS_FLOOR
from backends.demo.corpus import Corpus, sample_passage
from backends.demo.handbook import World, choose, fill
from backends.demo.patterns import absent, sections
from backends.demo.trees import Passage
from backends.demo.typing_errors import careless
from backends.rag.word_vectors import letter_groups
from backends.rag.words import key, words

_WIDTH = 64
_GROUPS = 8_192
_TEMPERATURE = 0.07
_SEEN = 8  # a rarer word is left to its letter groups
_UNKNOWN = 0.08  # so often a known word is taken for an unknown one
_QUESTIONS = 192
_OTHERS = 24


class Net(torch.nn.Module):
    """A row for each known word and each letter group; a text is the normalised sum of its words'."""

    def __init__(self, vocabulary: Sequence[str]) -> None:
        super().__init__()
        self.places = {word: place for place, word in enumerate(vocabulary)}
        self.table = torch.nn.EmbeddingBag(len(vocabulary) + _GROUPS, _WIDTH, mode="sum")
        torch.nn.init.normal_(self.table.weight, std=0.05)

    def embed(self, texts: Sequence[str], corpus: Corpus) -> torch.Tensor:
        rows: list[int] = []
        weights: list[float] = []
        offsets: list[int] = []
        for text in texts:
            offsets.append(len(rows))
            for word in map(key, words(text)):
                place = self.places.get(word)
                if place is not None and corpus.rng.random() >= _UNKNOWN:
                    places = [place]
                else:
                    places = [len(self.places) + group for group in letter_groups(word, _GROUPS)]
                rows += places
                weights += [1.0 / len(places)] * len(places)
        summed = self.table(torch.tensor(rows), torch.tensor(offsets), torch.tensor(weights))
        return torch.nn.functional.normalize(summed, dim=-1)


def passages(corpus: Corpus) -> tuple[list[Passage], World]:
    """All sections, as one company has them; in one of three draws the sample documents."""
    asked = [section for section in sections() if any(fact.questions for fact in section.facts)]
    if corpus.rng.random() < 0.33:
        return [sample_passage(section) for section in asked], World.sample()
    world = World.draw(corpus.rng)
    return [corpus.passage(section, world, drop=0.0) for section in asked], world


def text_of(passage: Passage) -> str:
    """What a passage is found by: its title and its sentences."""
    return f"{passage.title}: {' '.join(sentence for _, sentence in passage.facts)}"


def other_question(corpus: Corpus) -> str:
    """A question that no billing document answers."""
    pattern = corpus.rng.choice(absent())
    return careless(fill(choose(pattern, corpus.rng), World.sample(), corpus.rng, None), corpus.rng)


def batch(corpus: Corpus) -> tuple[list[str], list[int], list[str]]:
    """Questions, the number of the passage that answers each (-1: none), and the passages."""
    company, world = passages(corpus)
    questions: list[str] = []
    answers: list[int] = []
    for _ in range(_QUESTIONS):
        place = corpus.rng.randrange(len(company))
        questions.append(corpus.fact_branch(company, world, place).question)
        answers.append(place)
    questions += [other_question(corpus) for _ in range(_OTHERS)]
    return questions, answers + [-1] * _OTHERS, [text_of(passage) for passage in company]


def vocabulary(batches: int = 40) -> list[str]:
    """The keys of the words that come often enough."""
    corpus = Corpus("vocabulary")
    seen: Counter[str] = Counter()
    for _ in range(batches):
        questions, _, company = batch(corpus)
        seen.update(key(word) for text in (*questions, *company) for word in words(text))
    return sorted(word for word, count in seen.items() if count >= _SEEN)


def train(steps: int, rate: float) -> Net:
    """Word vectors by which a question is nearest to the passage that answers it, and near to none if none does."""
    torch.manual_seed(7)
    corpus = Corpus("meaning")
    net = Net(vocabulary())
    optimizer = torch.optim.Adam(net.parameters(), lr=rate)
    began = time.monotonic()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, 2.0 * (1.0 - step / steps))
        questions, answers, company = batch(corpus)
        cosines = net.embed(questions, corpus) @ net.embed(company, corpus).T
        scores = torch.cat([cosines, torch.full((len(questions), 1), WORD_VECTORS_FLOOR)], 1) / _TEMPERATURE
        wanted = torch.tensor([place if place >= 0 else len(company) for place in answers])
        loss = torch.nn.functional.cross_entropy(scores, wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 100 == 99:
            right = (scores.argmax(1) == wanted).float().mean()
            print(
                f"{step + 1} {time.monotonic() - began:.0f} s: loss {loss:.3f}, nearest right {right:.3f}", flush=True
            )
    return net


def save(net: Net) -> None:
    """Write the vectors as 8-bit numbers, with a scale for each."""
    rows = net.table.weight.detach().numpy()
    scales = np.maximum(np.abs(rows).max(axis=1), 1e-8) / 127
    np.savez_compressed(
        WORD_VECTORS,
        words=np.frombuffer("\n".join(net.places).encode(), np.uint8),
        rows=np.round(rows / scales[:, None]).astype(np.int8),
        scales=scales.astype(np.float16),
    )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1_500)
    parser.add_argument("--rate", type=float, default=4e-3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    save(train(args.steps, args.rate))
    print(f"{WORD_VECTORS}: {WORD_VECTORS.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
