"""From a request to what the scheduler gets of it: the prompt's tokens and the rule for those that follow."""

from __future__ import annotations

from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from backends.backend import ChatRequest, Message
from backends.engine.draw import Draw, model_defaults, resolve
from backends.engine.prefix_cache import common_prefix, pack
from backends.engine.reasoning import opened_by
from backends.errors import BackendError, Code

if TYPE_CHECKING:
    from backends.engine.runner import Runner
    from backends.engine.template import ChatTemplate


QUICK_CHARACTERS, QUICK_MESSAGES = 16_384, 64
"""What is prepared in a few milliseconds at most, even if it is all new."""


class Prepared(NamedTuple):
    """`tokens` of the prompt; how to go on after them; `closing`: what closes the thinking that they have opened."""

    tokens: list[int]
    draw: Draw
    closing: str


def is_quick(request: ChatRequest) -> bool:
    """Whether `prepare` takes no longer than handing it to another thread may be worth."""
    sampling = request.sampling
    if len(request.messages) > QUICK_MESSAGES or sampling.grammar or sampling.json_schema is not None:
        return False
    return sum(len(message.content) for message in request.messages) + len(request.continue_from) <= QUICK_CHARACTERS


def prepare(runner: Runner, template: ChatTemplate, request: ChatRequest) -> Prepared:
    """Raises BackendError (BAD_REQUEST) for what is wrong with the messages or the sampling. From any thread."""
    draw = resolve(
        request.sampling, model_defaults(runner.metadata), lambda text: runner.tokenize(text, False), runner.n_vocab
    )
    if draw.grammar:
        runner.check_grammar(draw.grammar)
        request = msgspec.structs.replace(request, reasoning="off")  # the grammar holds from the first token on
    tokens, closing = _prompt(runner, template, request)
    return Prepared(tokens, draw, closing)


def system_part(runner: Runner, template: ChatTemplate, request: ChatRequest, tokens: list[int]) -> int:
    """How many of `tokens`, the prompt of `request`, come before what anybody says: the system message in its frame.

    Raises BackendError as `prepare` does. From any thread.
    """
    system = tuple(takewhile(lambda message: message.role == "system", request.messages))
    other = msgspec.structs.replace(request, messages=(*system, Message("user", "?")), continue_from="")
    return common_prefix(pack(tokens), pack(_prompt(runner, template, other)[0]))


def certain_prompt(runner: Runner, template: ChatTemplate, request: ChatRequest) -> list[int]:
    """What the prompt will begin with when `request` comes: all before the word that is being typed.

    That is where the prompts of two different continuations part. Raises BackendError as `prepare` does.
    """
    turns, draft = request.messages, Message("user", "")
    if turns and turns[-1].role == "user":
        turns, draft = turns[:-1], turns[-1]
    words = draft.content.rsplit(None, 1)  # of which the last is still being typed, unless a space follows it
    typed = draft.content.rstrip() if draft.content[-1:].isspace() else "".join(words[:-1])
    prompts = []
    for word in ("0", "x"):
        turn = msgspec.structs.replace(draft, content=f"{typed} {word}" if typed else word)
        prompts.append(_prompt(runner, template, msgspec.structs.replace(request, messages=(*turns, turn)))[0])
    certain = prompts[0][: common_prefix(pack(prompts[0]), pack(prompts[1]))]
    while certain and runner.piece(certain[-1]).isspace():  # it may merge with the word behind it
        certain.pop()
    return certain


def _prompt(runner: Runner, template: ChatTemplate, request: ChatRequest) -> tuple[list[int], str]:
    """The prompt's token ids, and what closes the thinking that it has opened."""
    from backends.engine.template import tokenize

    pieces = template.render(request.messages, request.continue_from, reasoning=request.reasoning == "auto")
    tokens = tokenize(pieces, partial(runner.tokenize_again, partition=request.partition), runner.bos)
    if not tokens:
        raise BackendError(Code.BAD_REQUEST, "the prompt is empty: the request has no messages")
    return tokens, opened_by(pieces[-1].text) if pieces and pieces[-1].special else ""
