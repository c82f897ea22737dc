"""Embeddings and relevance scores, on tiny models with random weights."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.engine.embed import Embedder, Reranker
from backends.engine.load import load
from backends.engine.options import EngineOptions
from backends.engine.pooled_model import BATCH_TEXTS, PooledModel, batches
from backends.errors import BackendError, Code
from tests.fakes.gguf_bert import CLS, SEP, write_bert
from tests.fakes.gguf_model import write_model

MEAN, FIRST, LAST, RANK = 1, 2, 3, 4
TEXTS = ["a", "how do i pause", "refund within 30 days", "b c d e f g", "how do i pause"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("embedding")


@pytest.fixture(scope="module", params=[MEAN, FIRST, LAST], ids=["mean", "first", "last"])
def embedder(request: pytest.FixtureRequest, folder: Path) -> Iterator[Embedder]:
    """BERT with mean and first-token pooling; a causal model that takes the last token."""
    if request.param == LAST:
        path = write_model(folder / "causal.gguf", metadata={"llama.pooling_type": ("u32", LAST)})
    else:
        path = write_bert(folder / f"bert-{request.param}.gguf", pooling=request.param)
    opened = Embedder.open(path, threads=1)
    yield opened
    opened.close()


def same(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two vectors point the same way, up to the f16 that attention is computed in."""
    return bool(one @ other > 0.9999)


def test_vectors_have_their_shape_and_length_1(embedder: Embedder) -> None:
    vectors = embedder.embed(TEXTS)
    assert vectors.shape == (len(TEXTS), embedder.dimensions)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_a_text_has_the_same_vector_in_any_company(embedder: Embedder) -> None:
    together = embedder.embed(TEXTS)
    alone = np.concatenate([embedder.embed([text]) for text in TEXTS])
    assert all(map(same, together, alone))
    assert same(together[1], together[4])
    assert together[0] @ together[2] < 0.999, "different texts, different vectors"


def test_more_texts_than_a_batch_takes_keep_their_order(embedder: Embedder) -> None:
    texts = ["x y z " * (index % 5) + str(index) for index in range(3 * BATCH_TEXTS)]
    vectors = embedder.embed(texts)
    for index in (0, 1, BATCH_TEXTS, len(texts) - 1):
        assert same(vectors[index], embedder.embed([texts[index]])[0])


def test_whoever_asks_one_thread_computes(embedder: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    run, threads = PooledModel._run, set[str]()

    def noting(model: PooledModel, texts: Sequence[Sequence[int]]) -> None:
        threads.add(threading.current_thread().name)
        run(model, texts)

    monkeypatch.setattr(PooledModel, "_run", noting)
    for _ in range(3):
        with ThreadPoolExecutor(1) as asking:
            asking.submit(embedder.embed, ["one"]).result()
    assert len(threads) == 1


def test_a_long_text_is_cut_to_what_the_model_takes(embedder: Embedder) -> None:
    fits = "a " * (embedder.max_tokens // 2 - 2)
    long, longer = fits + "b " * 3000, fits + "b " * 4000
    assert embedder.count_tokens(long) > embedder.max_tokens
    vectors = embedder.embed([long, longer])
    assert same(vectors[0], vectors[1])


def test_nothing_to_embed(embedder: Embedder) -> None:
    assert embedder.embed([]).shape == (0, embedder.dimensions)
    vectors = embedder.embed(["", "a"])
    assert np.isfinite(vectors).all()
    assert np.linalg.norm(vectors[1]) == pytest.approx(1, abs=1e-5)


def test_the_end_of_a_text_that_is_cut_stays(folder: Path) -> None:
    embedder = Embedder.open(write_bert(folder / "cut.gguf"), threads=1)
    tokens = embedder._tokens("a " * 100)
    assert len(tokens) == embedder.max_tokens == 64
    assert (tokens[0], tokens[-1]) == (CLS, SEP)
    embedder.close()


def test_special_tokens_in_a_text_are_letters(folder: Path) -> None:
    model = PooledModel(write_bert(folder / "special.gguf"), threads=1)
    assert model.tokenize("a [SEP] b", True)[1:-1].count(SEP) == 0
    model.close()


def test_pooling_is_that_of_the_file(folder: Path) -> None:
    """The same weights, the mean of all tokens and the first of them: different vectors, unless there is but one."""
    mean = Embedder.open(write_bert(folder / "m.gguf", pooling=MEAN), threads=1)
    first = Embedder.open(write_bert(folder / "f.gguf", pooling=FIRST), threads=1)
    assert not same(mean.embed(["how do i pause"])[0], first.embed(["how do i pause"])[0])
    mean.close()
    first.close()


def test_a_reranker_scores_each_text_for_the_query(folder: Path) -> None:
    reranker = Reranker.open(write_bert(folder / "rank.gguf", pooling=RANK), threads=1)
    texts = ["refund in 30 days", "pause at once", "c " * 500]
    scores = reranker.score("how do i pause", texts)
    assert scores.shape == (3,)
    assert len(set(scores.tolist())) == 3
    assert np.allclose(scores[1], reranker.score("how do i pause", [texts[1]])[0], atol=1e-2)
    assert not np.allclose(scores, reranker.score("what is a refund", texts), atol=1e-2)
    assert np.isfinite(reranker.score("q " * 500, texts)).all(), "a query beyond the model's length"
    assert reranker.score("how", []).shape == (0,)
    reranker.close()


def test_a_reranker_frames_query_and_text(folder: Path) -> None:
    reranker = Reranker.open(write_bert(folder / "frame.gguf", pooling=RANK), threads=1)
    model = reranker._model
    query, text = model.tokenize("ab", False), model.tokenize("cd", False)
    assert reranker._pair(query, text) == [CLS, *query, SEP, *text]
    reranker.close()


def test_what_is_of_another_kind_is_refused_with_advice(folder: Path) -> None:
    chat, silent = write_model(folder / "chat.gguf"), write_bert(folder / "silent.gguf", pooling=None)
    rank, mean = write_bert(folder / "r.gguf", pooling=RANK), write_bert(folder / "e.gguf")
    for kind, path, words in (
        (Embedder, chat, "Take an embedding model"),
        (Embedder, silent, "Take an embedding model"),
        (Embedder, rank, "reranker"),
        (Reranker, mean, "Take a reranker"),
        (Embedder, folder / "nowhere.gguf", "Check the path"),
    ):
        with pytest.raises(BackendError, match=words) as caught:
            kind.open(path)
        assert caught.value.code == Code.MODEL_LOAD
        assert str(path) in caught.value.message


def test_an_embedding_model_is_no_model_to_chat_with(folder: Path) -> None:
    path = write_bert(folder / "nochat.gguf")
    with pytest.raises(BackendError, match="not a model that generates text"):
        load(EngineOptions(model=str(path)), lambda _part: True, 0)


def test_a_closed_model_says_so(folder: Path) -> None:
    embedder = Embedder.open(write_bert(folder / "closed.gguf"), threads=1)
    embedder.close()
    embedder.close()
    with pytest.raises(BackendError, match="closed"):
        embedder.embed(["a"])


@given(st.lists(st.integers(0, 40), max_size=200), st.integers(40, 100))
def test_batches_hold_every_text_once_and_no_more_than_they_may(lengths: list[int], tokens: int) -> None:
    found = batches(lengths, tokens)
    assert sorted(index for batch in found for index in batch) == [at for at, length in enumerate(lengths) if length]
    assert all(sum(lengths[index] for index in batch) <= tokens for batch in found)
    assert all(len(batch) <= BATCH_TEXTS for batch in found)
