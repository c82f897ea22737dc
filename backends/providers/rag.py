"""The provider ``rag``: another configured backend, answering from a folder of documents with citations."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from backends.backend import Backend
from backends.providers import ProviderOptions, Site

SAMPLE = "sample"


class Options(ProviderOptions, frozen=True, kw_only=True):
    """`inner`: the name of the backend that answers. `documents`: a folder (or one file) of Markdown and text, or
    "sample" for the sample documents. `token_budget`: tokens that the sources may add to a question. `top_k`: passages
    at most."""

    inner: str
    documents: str = SAMPLE
    token_budget: Annotated[int, Meta(ge=50)] = 3000
    top_k: Annotated[int, Meta(ge=1, le=50)] = 3


def connect(options: Options, site: Site) -> Backend:
    """The inner backend with the documents around it. Raises ConfigError where the inner one cannot be opened."""
    inner = site.open(options.inner)
    documents = sample_documents() if options.documents == SAMPLE else site.path(options.documents)
    return with_documents(inner, documents, options.token_budget, options.top_k)


def with_documents(
    inner: Backend,
    documents: Path,
    token_budget: int = 3000,
    top_k: int = 3,
    count_tokens: Callable[[str], int] | None = None,
) -> Backend:
    """`inner` answering from `documents`, whose index is kept in the user's cache folder; touches no file yet.

    `count_tokens` counts text as the model of `inner` does; without it a third of the bytes is taken.
    """
    from backends.rag import rag
    from backends.rag.assemble import estimate_tokens
    from backends.rag.retrieve import folder_retriever

    retriever = folder_retriever([documents], index_path(documents))
    return rag.Rag(inner, retriever, rag.Options(token_budget, top_k), count_tokens or estimate_tokens)


def sample_documents() -> Path:
    """The folder of sample documents that comes with llmchat."""
    from backends.demo import DOCUMENTS

    return Path(DOCUMENTS)


def index_path(documents: Path) -> Path:
    """Where the index of `documents` is kept: one file per folder, in a private folder of the user's cache."""
    from platformdirs import user_cache_path

    name = hashlib.sha256(str(documents.expanduser().absolute()).encode()).hexdigest()[:16]
    return user_cache_path("llmchat") / "index" / f"{name}.sqlite3"
