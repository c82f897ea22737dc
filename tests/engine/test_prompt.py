"""What is prepared on the event loop, because handing it to a thread would take longer, and what is not."""

from __future__ import annotations

import pytest

from backends.backend import ChatRequest, Message, Sampling
from backends.engine.prompt import QUICK_CHARACTERS, QUICK_MESSAGES, is_quick

HALF = QUICK_CHARACTERS // 2


@pytest.mark.parametrize(
    ("request_", "quick"),
    [
        (ChatRequest((Message("user", "pause"),)), True),
        (ChatRequest((Message("system", HALF * "a"), Message("user", HALF * "a"))), True),
        (ChatRequest((Message("system", HALF * "a"), Message("user", HALF * "a" + "a"))), False),
        (ChatRequest((Message("user", HALF * "a"),), continue_from=HALF * "a" + "a"), False),
        (ChatRequest((Message("user", "a"),) * QUICK_MESSAGES), True),
        (ChatRequest((Message("user", "a"),) * (QUICK_MESSAGES + 1)), False),
        (ChatRequest((Message("user", "a"),), sampling=Sampling(grammar='root ::= "a"')), False),
        (ChatRequest((Message("user", "a"),), sampling=Sampling(json_schema={})), False),
    ],
)
def test_only_what_is_short_and_has_no_grammar_is_quick(request_: ChatRequest, quick: bool) -> None:
    assert is_quick(request_) == quick
