"""The first minute: llmchat without any configuration, on the model and the documents that come with it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

from tests.journey.terminal import CTRL_Q, ENTER, ESC, Terminal
from tests.journey.test_ask import finished
from tui.exit_codes import ExitCode

QUESTION = "Can I pause my annual subscription?"


def test_a_question_is_answered_from_the_sample_documents(start: Callable[..., subprocess.Popen[bytes]]) -> None:
    code, out, err = finished(start("ask", QUESTION, "-t", 0, "--json"))
    events = [json.loads(line) for line in out.splitlines()]
    assert (code, err) == (ExitCode.COMPLETE, ""), events
    statuses = [event["status"] for event in events if event["event"] == "status"]
    assert {"retrieving", "assembling", "prefilling"} <= set(statuses)
    passages = [passage for event in events for passage in event.get("passages", ())]
    assert any("annual" in passage["snippet"] for passage in passages)
    text = "".join(event["text"] for event in events if event["event"] == "token")
    citations = [event for event in events if event["event"] == "citation"]
    assert citations, text
    assert all(f"[{citation['id']}]" in text for citation in citations)


def test_the_first_minute(open_terminal: Callable[..., Terminal]) -> None:
    with open_terminal() as terminal:
        terminal.wait_for("demo model", "Ask anything")
        terminal.send(QUESTION + ENTER)
        terminal.wait_for(QUESTION, "TTFT", "retrieval", "prefill", "generation", "complete")
        terminal.send("Walk me through changing the payment card, step by step." + ENTER)
        terminal.send(ESC)
        terminal.wait_for("Walk me through", "ready")
        terminal.send(CTRL_Q)
        assert terminal.ended() == ExitCode.COMPLETE
    with open_terminal("--continue") as terminal:
        terminal.wait_for("Walk me through")
        terminal.send(CTRL_Q)
        assert terminal.ended() == ExitCode.COMPLETE
