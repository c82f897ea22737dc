"""Story 1: 25 passages go before the question, "to be safe", and the first token waits for all of them to be read.

What is measured is what the model has to compute before the first token: tokens, not milliseconds.
"""

from __future__ import annotations

from contextlib import closing

from backends.backend import ChatRequest, Message, Sampling
from backends.demo import DOCUMENTS, DRAFT, MODEL
from backends.events import Citation, Meta, Status
from backends.providers.rag import sample_model
from backends.rag.index import Index
from backends.rag.options import Options
from backends.rag.rag import Rag
from backends.rag.retrieve import FolderRetriever
from tests.stories.conftest import StartEngine

QUESTION = "Can I pause my annual plan, and what does it cost to get an invoice, a refund, a seat or a discount?"
NAIVE = Options(token_budget=100_000, top_k=25, candidates=50)


async def ask(start: StartEngine, options: Options) -> tuple[int, int, list[Citation]]:
    """Tokens prefilled for QUESTION, passages before it, and what the answer cites."""
    engine = await start(model=str(MODEL), draft_model=str(DRAFT), n_ctx=4096, max_streams=1, kv_residency="none")
    with closing(Index([DOCUMENTS], model=sample_model())) as index:
        rag = Rag(engine, FolderRetriever(index), options, engine.count_tokens)
        request = ChatRequest((Message("user", QUESTION),), max_tokens=40, sampling=Sampling(temperature=0))
        events = [event async for event in rag.stream(request)]
    (passages,) = [event.passages for event in events if isinstance(event, Status) and event.passages]
    metas = [event for event in events if isinstance(event, Meta) and event.prompt_tokens is not None]
    assert metas[0].prompt_tokens is not None
    prefilled = metas[0].prompt_tokens - (metas[0].cached_tokens or 0)
    return prefilled, len(passages), [event for event in events if isinstance(event, Citation)]


async def test_25_passages_make_the_first_token_wait(start: StartEngine) -> None:
    prefilled, passages, _ = await ask(start, NAIVE)
    assert passages == 25
    assert prefilled > 1_200


async def test_few_passages_within_a_budget_are_enough(start: StartEngine) -> None:
    prefilled, passages, cited = await ask(start, Options(token_budget=600))
    assert passages == 3
    assert prefilled <= 300
    assert cited
