"""What of retrieval can be configured."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct


class Embedding(Struct, frozen=True, forbid_unknown_fields=True):
    """An embedding model: passages are also found by what they mean. `model`: path of a GGUF file; "" for none.

    `floor`: the cosine similarity up to which question and passage have nothing to do with each other, a property of
    the model (bge about 0.55, nomic-embed 0.5, Qwen3-Embedding 0.3). `query_prefix` and `passage_prefix`: what its
    makers want before each ("search_query: ").
    """

    model: str = ""
    floor: Annotated[float, Meta(ge=-1.0, lt=1.0)] = 0.5
    query_prefix: str = ""
    passage_prefix: str = ""


class Options(Struct, frozen=True):
    """`token_budget`: tokens that the sources may add to a turn. `top_k`: passages at most. `candidates`: how many the
    index hands to the reranker. `compress`: leave out sentences of a passage that have nothing of the question."""

    token_budget: int = 3000
    top_k: int = 3
    candidates: int = 24
    compress: bool = False
