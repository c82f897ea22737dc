"""The provider ``rag``: another configured backend, answering from a folder of documents with citations."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from backends.backend import Backend
from backends.providers import ProviderOptions, Site
from backends.rag import options as rag
from backends.rag.options import Embedding
from backends.rag.tokens import CountTokens, estimate_tokens

if TYPE_CHECKING:
    from backends.rag.index import Index
    from backends.rag.meaning import Embedder, EmbeddingModel
    from backends.rag.relevance import Scorer

SAMPLE = "sample"
NO_EMBEDDING = Embedding()


class Options(ProviderOptions, frozen=True, kw_only=True):
    """`inner`: the name of the backend that answers. `documents`: a folder (or one file) of Markdown, text, HTML, PDF
    or Word documents, or "sample" for the sample documents. `token_budget`: tokens that the sources may add to a
    question. `top_k`: passages at most. `compress`: without the sentences that have nothing of the question.
    `embedding`: a model that finds passages by meaning. `reranker`: a GGUF file that orders what was found. `database`:
    a PostgreSQL server that keeps the index, for many to answer from ("postgresql://user@host/name"; the password is
    read from ~/.pgpass), instead of a file here."""

    inner: str
    documents: str = SAMPLE
    token_budget: Annotated[int, Meta(ge=50)] = 3000
    top_k: Annotated[int, Meta(ge=1, le=50)] = 3
    compress: bool = False
    embedding: Embedding = Embedding()
    reranker: str = ""
    database: str = ""


def connect(options: Options, site: Site) -> Backend:
    """The inner backend with the documents around it. Raises ConfigError where the inner one cannot be opened."""
    inner = site.open(options.inner)
    documents = sample_documents() if options.documents == SAMPLE else site.path(options.documents)
    return with_documents(
        inner,
        documents,
        rag.Options(options.token_budget, options.top_k, compress=options.compress),
        embedding=absolute(options.embedding, site),
        reranker=site.path(options.reranker) if options.reranker else None,
        database=options.database,
    )


def with_documents(
    inner: Backend,
    documents: Path,
    options: rag.Options,
    *,
    embedding: Embedding = NO_EMBEDDING,
    reranker: Path | None = None,
    database: str = "",
    count_tokens: CountTokens = estimate_tokens,
    context_size: Callable[[], int | None] = lambda: None,
) -> Backend:
    """`inner` answering from `documents`, whose index is kept in `database` or in the user's cache folder. It touches
    nothing yet.

    `count_tokens` counts text as the model of `inner` does, `context_size` says how many tokens that takes.
    """
    from backends.rag.rag import Rag
    from backends.rag.relevance import Relevance
    from backends.rag.retrieve import FolderRetriever

    retriever = FolderRetriever(open_index(documents, embedding, database, count_tokens))
    relevance = Relevance(lambda: _open_reranker(reranker)) if reranker is not None else None
    return Rag(inner, retriever, options, count_tokens, context_size, relevance)


def open_index(
    documents: Path, embedding: Embedding, database: str = "", count_tokens: CountTokens = estimate_tokens
) -> Index:
    """The index of `documents`, in `database` or else in the user's cache folder; touches nothing yet."""
    from backends.rag.index import Index

    model = sample_model() if documents == sample_documents() and not embedding.model else gguf_model(embedding)
    if not database:
        return Index([documents], index_path(documents), model, count_tokens)
    from backends.rag.postgres_store import PostgresStore

    return Index([documents], PostgresStore(database, str(documents)), model, count_tokens)


def absolute(embedding: Embedding, site: Site) -> Embedding:
    """`embedding` with its model's path made absolute."""
    if not embedding.model:
        return embedding
    return msgspec.structs.replace(embedding, model=str(site.path(embedding.model).absolute()))


def gguf_model(embedding: Embedding) -> EmbeddingModel | None:
    """The embedding model that is configured, if one is."""
    if not embedding.model:
        return None
    from backends.rag.meaning import EmbeddingModel

    path = Path(embedding.model)

    def open_model() -> Embedder:
        from backends.engine.embed import Embedder

        return Embedder.open(path)

    floor = None if embedding.floor == "auto" else embedding.floor
    name = f"{_version(path)} {embedding.passage_prefix}"
    return EmbeddingModel(name, open_model, floor, embedding.query_prefix, embedding.passage_prefix)


def _version(path: Path) -> str:
    """A file's path and when it was written: another file in its place is another model."""
    try:
        return f"{path} {path.stat().st_mtime_ns}"
    except OSError:
        return str(path)  # opening it will say what is wrong


def _open_reranker(path: Path) -> Scorer:
    from backends.engine.embed import Reranker

    return Reranker.open(path)


def sample_documents() -> Path:
    """The folder of sample documents that comes with llmchat."""
    from backends.demo import DOCUMENTS

    return Path(DOCUMENTS)


def sample_model() -> EmbeddingModel:
    """The word vectors that come with the sample documents."""
    from backends.demo import WORD_VECTORS, WORD_VECTORS_FLOOR
    from backends.rag.meaning import EmbeddingModel
    from backends.rag.word_vectors import WordVectors

    return EmbeddingModel(_version(WORD_VECTORS), lambda: WordVectors(WORD_VECTORS), WORD_VECTORS_FLOOR)


def index_path(documents: Path) -> Path:
    """Where the index of `documents` is kept: one file per folder, in a private folder of the user's cache."""
    from platformdirs import user_cache_path

    name = hashlib.sha256(str(documents.expanduser().absolute()).encode()).hexdigest()[:16]
    return user_cache_path("llmchat") / "index" / f"{name}.sqlite3"
