"""Train the demo model or its draft: ``python -m backends.demo.train [--draft] --tokens 30e6``.

The state (weights, averaged weights, optimizer, generator) is saved in the work folder every few minutes, and a later
call goes on from it. Learning rates rise over the first steps, stay, and fall to zero between `--decay-from` and
`--tokens`; with `--minutes`, where the machine's speed is not known, from `--rate` now to zero then. The export takes
the last weights; those of a run that is not at its end are better averaged.
"""

from __future__ import annotations

import argparse
import json
import pickle
import signal
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import torch
import torch.nn.functional as F
from torch import Tensor

from backends.demo import induction
from backends.demo.batches import Batch, Packer, Row, collate
from backends.demo.corpus import Corpus
from backends.demo.criterion import Criterion
from backends.demo.feeding import writers
from backends.demo.network import Network, Shape
from backends.demo.optimizer import Optimizer
from backends.demo.tokenizer import Vocabulary

WORK = Path.home() / ".cache" / "llmchat-demo"
TARGET = Shape(width=256, layers=6, heads=4, kv_heads=4, head=64, hidden=640)
DRAFT = Shape(width=128, layers=2, heads=2, kv_heads=2, head=64, hidden=320)
SAMPLE_SHARE = 0.4
"""More of the sample documents than the evaluation has: they are what people ask about first."""
AVERAGE = 0.998
WARM_UP_STEPS = 40
SAVE_EVERY = 120.0
"""Seconds."""


@dataclass
class Run:
    """Everything that a resumed run needs."""

    network: Network
    optimizer: Optimizer
    average: dict[str, Tensor]
    corpus: Corpus
    tokens: int = 0
    steps: int = 0
    seconds: float = 0.0

    def save(self, path: Path) -> None:
        state = {
            "shape": self.network.shape.as_dict(),
            "network": self.network.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state(),
            "random": pickle.dumps(self.corpus.rng.getstate()),
            "counts": (self.tokens, self.steps, self.seconds),
        }
        torch.save(state, path.with_suffix(".new"))
        path.with_suffix(".new").replace(path)

    def learn(self, loss: Tensor, share: float, tokens: int) -> None:
        """One step from the `loss` on `tokens` tokens, at that share of the full learning rate."""
        loss.backward()
        self.optimizer.step(share)
        self.steps += 1
        self.tokens += tokens
        decay = min(AVERAGE, 1 - 10 / (10 + self.steps))
        with torch.no_grad():
            for name, value in self.network.state_dict().items():
                self.average[name].lerp_(value, 1 - decay)

    @classmethod
    def open(cls, path: Path, shape: Shape, seed: int, device: torch.device) -> Run:
        torch.manual_seed(seed)
        network = Network(shape)
        induction.build(network)
        network.to(device)
        run = cls(network, Optimizer(network), {}, Corpus(seed, sample_share=SAMPLE_SHARE))
        if path.exists():
            state = torch.load(path, weights_only=False, map_location=device)
            network.load_state_dict(state["network"])
            run.optimizer.restore(state["optimizer"])
            run.average = state["average"]
            run.corpus.rng.setstate(pickle.loads(state["random"]))
            run.tokens, run.steps, run.seconds = state["counts"]
        else:
            run.average = {name: value.clone() for name, value in network.state_dict().items()}
        return run


def trained(path: Path, *, average: bool = False) -> Network:
    """The network of the run saved at `path`; its averaged weights, better before the learning rate falls, if asked."""
    state = torch.load(path, weights_only=False, map_location="cpu")
    network = Network(Shape(**state["shape"]))
    network.load_state_dict(state["average" if average else "network"])
    network.eval()
    return network


def vocabulary(work: Path) -> Vocabulary:
    """The tokenizer of the work folder, trained first where there is none."""
    path = work / "tokenizer.json"
    if not path.exists():
        Vocabulary.train().save(path)
    return Vocabulary.load(path)


def rate(run: Run, args: argparse.Namespace, elapsed: float) -> float:
    """The share of the full learning rate for the next step, `elapsed` seconds after the start of this call."""
    if args.minutes:
        return float(args.rate * max(0.0, 1 - elapsed / (60 * args.minutes)))
    warm = min(1.0, (run.steps + 1) / WARM_UP_STEPS)
    return float(warm * min(1.0, max(0.0, (args.tokens - run.tokens) / max(1.0, args.tokens - args.decay_from))))


def train(
    run: Run, batches: Iterator[Batch], vocab: Vocabulary, path: Path, args: argparse.Namespace, teacher: Network | None
) -> None:
    """Go on with `run` until the learning rate is zero or a signal ends it, and keep it and its log at `path`."""
    criterion = Criterion(run.network, teacher, torch.device(args.device), run.steps)
    stopped: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _frame: stopped.append(received))
    started = saved = evaluated = time.monotonic()
    share = rate(run, args, 0.0)
    with path.with_suffix(".log").open("a") as file:
        log = Log(file)
        while share > 0 and not stopped:
            began = time.monotonic()
            batch = next(batches)
            loss = criterion(batch)
            run.learn(loss, share, batch.size)
            now = time.monotonic()
            share = rate(run, args, now - started)
            run.seconds += now - began
            log.step(run, loss.item(), batch.size / (now - began))
            if now - evaluated > args.evaluate_every or share <= 0:
                log.scores(run, held_out(run, vocab))
                evaluated = time.monotonic()
            if now - saved > SAVE_EVERY:
                run.save(path)
                saved = time.monotonic()
    run.save(path)


class Log:
    """What a run says of itself: lines on its loss, smoothed, and on how it does on what it has not seen."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._smooth: float | None = None

    def step(self, run: Run, loss: float, speed: float) -> None:
        """`speed`: tokens a second."""
        self._smooth = loss if self._smooth is None else 0.95 * self._smooth + 0.05 * loss
        if run.steps % 20 == 0:
            tokens = f"{run.tokens / 1e6:.2f}M"
            self._write(f"step {run.steps} tokens {tokens} loss {self._smooth:.3f} {speed:.0f} tok/s")

    def scores(self, run: Run, scores: dict[str, float]) -> None:
        """As `held_out` gives them."""
        self._write(json.dumps({"tokens": run.tokens, "seconds": round(run.seconds)} | scores))

    def _write(self, line: str) -> None:
        print(line, file=self._file, flush=True)


@torch.no_grad()
def held_out(run: Run, vocab: Vocabulary, trees: int = 48) -> dict[str, float]:
    """Scores of the averaged weights on unseen wordings and values: loss and accuracy per answer token, whole answers
    right (greedy decoding would give them exactly) by kind."""
    network = Network(run.network.shape)
    network.load_state_dict(run.average)
    network.eval()
    packer = Packer(vocab, Corpus(987_654, held_out=True))
    right: dict[str, list[float]] = defaultdict(list)
    total = count = hits = 0.0
    rows: list[Row] = []
    while len(rows) < trees:
        row = packer.row(packer.corpus.tree(8), 768)
        if row is not None:
            rows.append(row)
    for at in range(0, trees, 12):
        batch = collate(rows[at : at + 12], 768)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = network(batch.tokens, batch.positions, batch.branches).float()
        losses = F.cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), reduction="none").view(
            batch.targets.shape
        )
        answers = (batch.weights > 0.5) & (batch.branches > 0)
        match = logits.argmax(-1) == batch.targets
        total += float((losses * answers).sum())
        count += float(answers.sum())
        hits += float((match & answers).sum())
        for i, kinds in enumerate(batch.kinds):
            for number, kind in enumerate(kinds, 1):
                of_branch = answers[i] & (batch.branches[i] == number)
                right[kind].append(float(match[i][of_branch].all()))
    scores = {kind: round(sum(values) / len(values), 3) for kind, values in sorted(right.items())}
    return {"loss": round(total / count, 4), "accuracy": round(hits / count, 4)} | scores


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=WORK, help="folder of checkpoints and the tokenizer")
    parser.add_argument("--draft", action="store_true", help="train the draft, distilled from the trained model")
    parser.add_argument("--tokens", type=float, default=30e6, help="total tokens to train on, all calls together")
    parser.add_argument("--decay-from", type=float, default=0.0, help="where the learning rate starts to fall")
    parser.add_argument("--minutes", type=float, default=0.0, help="end after so long, at whatever number of tokens")
    parser.add_argument(
        "--rate", type=float, default=0.5, help="with --minutes: the share of the learning rate to start at"
    )
    parser.add_argument("--evaluate-every", type=float, default=120.0, help="seconds")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=8192, help="tokens of a step")
    parser.add_argument("--device", default="cpu", help='"cuda" trains on a GPU')
    parser.add_argument("--writers", type=int, default=0, help="processes that write text; a GPU needs about a dozen")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(args.threads)
    path = args.work / ("draft.pt" if args.draft else "target.pt")
    device = torch.device(args.device)
    run = Run.open(path, DRAFT if args.draft else TARGET, args.seed + (100 if args.draft else 0), device)
    teacher = trained(args.work / "target.pt").to(device) if args.draft else None
    vocab = vocabulary(args.work)
    cut = teacher is None
    if args.writers:
        seed = args.seed + run.steps
        tokenizer = args.work / "tokenizer.json"
        with writers(args.writers, tokenizer, seed, args.batch, sample_share=SAMPLE_SHARE, cut=cut) as batches:
            train(run, batches, vocab, path, args, teacher)
    else:
        train(run, Packer(vocab, run.corpus, cut=cut).batches(args.batch), vocab, path, args, teacher)


if __name__ == "__main__":
    main()
