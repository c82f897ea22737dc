"""What of retrieval can be configured."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct


class Embedding(Struct, frozen=True, forbid_unknown_fields=True):
    """An embedding model: passages are also found by what they mean. `model`: path of a GGUF file; "" for none.

    `floor`: the cosine similarity up to which question and passage have nothing to do with each other, a property of
    the model; "auto": measured, by questions of everyday life. `query_prefix` and `passage_prefix`: what its makers
    want before each ("search_query: ").
    """

    model: str = ""
    floor: Annotated[float, Meta(ge=-1.0, lt=1.0)] | Literal["auto"] = "auto"
    query_prefix: str = ""
    passage_prefix: str = ""


class Options(Struct, frozen=True):
    """`token_budget`: tokens that the sources may add to a turn. `top_k`: passages at most. `candidates`: how many the
    index hands to the reranker. `compress`: leave out sentences of a passage that have nothing of the question."""

    token_budget: int = 3000
    top_k: int = 3
    candidates: int = 24
    compress: bool = False
