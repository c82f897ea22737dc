"""The engine: answers from a GGUF with llama.cpp. A token's way through it:

    engine.py       Backend.stream: request -> Sequence, events back
    prompt.py       request -> tokens and rule
    template.py     messages -> prompt (Jinja2 sandbox); only the template writes special tokens
    loop.py         the one scheduler thread: collect, admit, compute a step, publish
    report.py       what is told about a sequence
    scheduler.py    what the step computes and who is admitted (pure)
    kv_cache.py     the account of KV cells (pure)
    residency.py    where prefixes rest that may come again; prefix_cache.py: which, and who goes first (pure)
    checkpoints.py  whole states, for models whose memory has no parts (pure)
    runner.py       computes with llama.cpp; load.py loads it, library.py finds it, machine.py says what there is
    sampler.py      draws a token, by the rule in draw.py and with dice.py; detokenizer.py: what of it may be shown
    grammar.py      which tokens a grammar lets follow; gbnf.py, json_schema.py: where it comes from
    reasoning.py    the marks between thinking and answering
    speculation.py  has tokens drafted that a step then verifies, where that pays: drafter.py proposes them (a draft
                    model, or ngram.py), draft_length.py measures and chooses (pure), vocabulary.py compares (pure)

embed.py, beside all that, has embeddings and relevance scores for retrieval: pooled_model.py.

llama.cpp and numpy are imported when an engine starts, not with this package.
"""

from backends.engine.engine import Engine
from backends.engine.options import EngineOptions

__all__ = ["Engine", "EngineOptions"]
