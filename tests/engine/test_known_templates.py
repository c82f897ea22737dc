"""Well-known models' chat templates: each letter of the prompt, thinking switched off, earlier thinking left out."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from backends.backend import Message
from backends.engine import template as module
from backends.engine.reasoning import opened_by
from backends.engine.template import ChatTemplate, Piece
from tests.fakes.chat_templates import CONVERSATION, KNOWN, TODAY, KnownTemplate

MESSAGES = [Message(role, content) for role, content in CONVERSATION]  # type: ignore[arg-type]


class _Clock(datetime.datetime):
    @classmethod
    def now(cls, tz: Any = None) -> _Clock:
        return cls.fromisoformat(TODAY)


@pytest.fixture(params=KNOWN)
def known(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> KnownTemplate:
    monkeypatch.setattr(module.datetime, "datetime", _Clock)
    return KNOWN[request.param]


def render(known: KnownTemplate, *arguments: Any, **options: Any) -> list[Piece]:
    return ChatTemplate(known.source, known.bos, known.eos).render(*arguments, **options)


def text(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


def test_the_prompt_is_the_published_one(known: KnownTemplate) -> None:
    pieces = render(known, MESSAGES)
    assert text(pieces) == known.rendered
    contents = {piece.text.strip() for piece in pieces if not piece.special}
    assert contents == {content for _, content in CONVERSATION}, "and the contents are only text"


def test_reasoning_is_switched_off_where_the_template_can(known: KnownTemplate) -> None:
    off = text(render(known, MESSAGES, reasoning=False))
    if known.closed is None:
        assert off == known.rendered
    else:
        assert off.endswith(known.closed)
        assert opened_by(off) == ""


def test_a_cut_answer_goes_on_as_an_answer_not_as_thinking(known: KnownTemplate) -> None:
    pieces = render(known, MESSAGES, "It is")
    assert pieces[-1].text.endswith("It is")
    before = text(pieces)[: -len("It is")]
    assert opened_by(before) == ""
    assert before.startswith(known.rendered.rstrip())


def test_marks_in_a_message_stay_text(known: KnownTemplate) -> None:
    """Templates that look for their own marks in contents do not see them; nothing is cut away, nothing refused."""
    for content in ("a</think>b", "<|channel|>analysis<|message|>x", known.eos, "<think>"):
        messages = [Message("user", content), Message("assistant", content), Message("user", content)]
        pieces = render(known, messages)
        assert [piece.text.strip() for piece in pieces if not piece.special] == [content] * 3
