"""Whether a draft model speaks the target's tokens. Plain data, read by runner.py."""

from __future__ import annotations

from typing import NamedTuple

MAX_SIZE_DIFFERENCE = 128
FIRST_COMPARED = 5
"""What llama.cpp's own speculative decoding tolerates (``common/speculative.cpp``): padding at the end of the larger
vocabulary, and different texts of the very first tokens, which are specials."""


class Vocabulary(NamedTuple):
    """`kind`: llama.cpp's type of tokenizer; `bos` and `eos`: what is put around a text, None for nothing; `texts`: of
    each token, as the GGUF writes them."""

    kind: int
    bos: int | None
    eos: int | None
    texts: list[bytes]


def difference(target: Vocabulary, draft: Vocabulary) -> str | None:
    """Why `draft` cannot draft for `target`, in words; None when it can."""
    sizes = f"{len(target.texts):,} tokens in the model, {len(draft.texts):,} in the draft"
    if target.kind != draft.kind:
        return f"the tokenizers are of different types ({target.kind} and {draft.kind}; {sizes})"
    for name, ours, theirs in (("BOS", target.bos, draft.bos), ("EOS", target.eos, draft.eos)):
        if ours != theirs:
            return f"the {name} tokens that they put around a text differ ({_token(ours)} and {_token(theirs)})"
    if abs(len(target.texts) - len(draft.texts)) > MAX_SIZE_DIFFERENCE:
        return f"the vocabularies differ in size: {sizes}"
    pairs = list(zip(target.texts, draft.texts, strict=False))
    differing = [token for token in range(FIRST_COMPARED, len(pairs)) if pairs[token][0] != pairs[token][1]]
    if not differing:
        return None
    one, other = (text.decode("utf-8", "replace") for text in pairs[differing[0]])
    return (
        f"{len(differing):,} of {len(pairs):,} tokens differ, the first of them is {differing[0]}: "
        f"{one!r} in the model, {other!r} in the draft"
    )


def _token(token: int | None) -> str:
    return "none" if token is None else str(token)
