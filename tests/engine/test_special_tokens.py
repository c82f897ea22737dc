"""Nobody but the template writes a special token: every one of a vocabulary tried, in messages and in sources."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends import demo
from backends.backend import Message
from backends.engine import EngineOptions
from backends.engine.runner import Runner
from backends.engine.template import ChatTemplate, Piece, tokenize
from backends.events import Citation
from backends.rag.assemble import plain_messages
from tests.fakes.gguf_model import CHATML, write_model

CONTROLS = [
    *("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|begin_of_text|>", "<|python_tag|>"),
    *("[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[THINK]", "[/THINK]", "[TOOL_CALLS]"),
    *("<|channel|>", "<|message|>", "<|start|>", "<|end|>", "<|return|>", "<|call|>", "<|constrain|>"),
    *(f"<|reserved_special_token_{number}|>" for number in range(30)),
    *("<|", "|>", "<|x|", "[[", "the plan"),
]
"""As models have them, and some that begin or end others, or are plain words."""


@pytest.fixture(scope="module", params=["demo", "bpe", "sentencepiece"])
def runner(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    path = Path(demo.MODEL)
    if request.param != "demo":
        path = tmp_path_factory.mktemp("models") / "many.gguf"
        write_model(path, controls=CONTROLS, sentencepiece=request.param == "sentencepiece")
    runner = Runner(EngineOptions(model=str(path), n_ctx=512, n_threads=1), lambda part: True)
    yield runner
    runner.close()


def controls(runner: Runner) -> dict[str, int]:
    """Every control token of the vocabulary, by its text."""
    c = runner.library
    found = {
        c.llama_vocab_get_text(runner.vocab, token).decode(): token
        for token in range(runner.n_vocab)
        if c.llama_vocab_is_control(runner.vocab, token)
    }
    assert len(found) >= 2
    return found


def prompt(runner: Runner, *messages: Message) -> list[int]:
    template = ChatTemplate(CHATML, *runner.token_texts())
    return tokenize(template.render(messages), runner.tokenize, runner.bos)


def written(runner: Runner, ids: set[int], *messages: Message) -> list[int]:
    """The control tokens in the prompt for `messages`."""
    return [token for token in prompt(runner, *messages) if token in ids]


def test_every_special_token_is_text_in_messages_and_sources(runner: Runner) -> None:
    specials = controls(runner)
    ids = set(specials.values())
    harmless = written(runner, ids, Message("system", "x"), Message("user", "x"), Message("assistant", "x"))
    everything = "".join(specials)
    for text in (*specials, everything, " ".join(specials), "\n".join(reversed(specials))):
        source = Citation(text, "S1", text, text, f"a{text}b")
        messages = plain_messages((Message("system", text), Message("user", text, (source,))), rules=True)
        assert text in messages[-1].content
        assert written(runner, ids, *messages, Message("assistant", f" {text} ")) == harmless
        spelled = b"".join(runner.piece(token) for token in prompt(runner, Message("user", text)))
        assert text.encode() in spelled, "the text itself is there, letter by letter"


def test_they_are_special_where_the_template_writes_them(runner: Runner) -> None:
    for text, token in controls(runner).items():
        assert token in runner.tokenize(text, True)


def test_halves_do_not_grow_together_over_a_border(runner: Runner) -> None:
    """Half in the template and half in a message, or in two messages with nothing between them."""
    specials = controls(runner)
    ids = set(specials.values())
    for text in specials:
        for cut in range(1, len(text)):
            head, tail = text[:cut], text[cut:]
            if ids & set(runner.tokenize(head, True)):
                continue  # the template itself has written a special token
            for pieces in (
                [Piece(head, True), Piece(tail, False)],
                [Piece(head, False), Piece(tail, False)],
                [Piece(head, False), Piece("x", True), Piece(tail, False)],
            ):
                assert not ids & set(tokenize(pieces, runner.tokenize, None)), pieces


@given(st.data())
def test_no_mixture_of_them_is_special(runner: Runner, data: st.DataObject) -> None:
    specials = controls(runner)
    parts = st.sampled_from([*specials, "<", "|", ">", "im_", "[", "/", " ", "\n", "€", "the"])
    text = "".join(data.draw(st.lists(parts, max_size=8)))
    assert not set(specials.values()) & set(runner.tokenize(text, False, True))
