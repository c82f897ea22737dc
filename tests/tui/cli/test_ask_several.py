"""`llmchat ask` with several backends: one page after the other, tagged events, how it ends."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from backends.events import Done, Error, Event, Status, Token
from backends.telemetry.timeline import Timeline
from tests.tui.cli.conftest import Llmchat
from tui.commands.ask_several import Pages, comparison
from tui.exit_codes import ExitCode
from tui.places import Places, places


class Answers:
    """Pages and the timelines of those who write them."""

    def __init__(self, *names: str) -> None:
        self.out, self.err = io.StringIO(), io.StringIO()
        pages = Pages(self.out, self.err, sources=False)
        self.pages = {name: pages.page(name) for name in names}
        self.timelines = {name: Timeline() for name in names}
        self.now = 0.0

    def play(self, name: str, *events: Event) -> None:
        for event in events:
            self.now += 10.0
            self.timelines[name].add(event, self.now)
            self.pages[name].show(event)
            if isinstance(event, Done | Error):
                self.pages[name].end(self.timelines[name])


def test_what_begins_first_is_printed_as_it_comes_and_the_others_after_it() -> None:
    them = Answers("a", "b", "c")
    them.play("a", Status("waiting"))
    them.play("b", Token("Bees "))
    assert them.out.getvalue() == "## b\n\nBees "
    them.play("a", Token("Ants "))
    them.play("c", Token("Cats."), Done(1, 1.0))
    them.play("b", Token("buzz."))
    assert them.out.getvalue() == "## b\n\nBees buzz."
    them.play("b", Done(2, 1.0))
    assert them.out.getvalue() == "## b\n\nBees buzz.\n\n## a\n\nAnts "
    them.play("a", Token("crawl."), Done(2, 1.0))
    assert them.out.getvalue() == "## b\n\nBees buzz.\n\n## a\n\nAnts crawl.\n\n## c\n\nCats.\n"
    assert places(them.timelines) == Places("b", "c")


def test_who_fails_before_a_word_has_no_page_and_is_told_by_name() -> None:
    them = Answers("a", "b")
    them.play("b", Token("Bees."))
    them.play("a", Error("CONNECT", "nobody there"))
    assert them.err.getvalue() == "llmchat: a: nobody there\n"
    them.play("b", Done(1, 1.0))
    assert them.out.getvalue() == "## b\n\nBees.\n"
    told = comparison(them.timelines).splitlines()
    assert told[0] == "a  no token · total 20 ms · failed"
    assert told[1] == "b  first token 10 ms · first · total 30 ms · finished first · complete"


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """A configuration whose backends replay a recording each; the one of b breaks off."""
    head = {"request": {"messages": [{"role": "user", "content": "Who?"}]}}
    for name, ended in (("a", True), ("b", False)):
        lines = [head, *({"ms": 1.0, "event": "token", "data": {"text": text}} for text in ("I am ", f"{name}."))]
        lines += [{"ms": 2.0, "event": "done", "data": {"totalTokens": 2, "latency": 2.0}}] if ended else []
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    path = tmp_path / "config.toml"
    tables = "".join(f'[backends.{name}]\ntype = "replay"\npath = "{name}.jsonl"\n' for name in "ab")
    path.write_text(f'backend = "a"\n{tables}')
    return path


def test_two_backends_answer_one_question(llmchat: Llmchat, two: Path) -> None:
    result = llmchat("ask", "--config", two, "--backend", "a", "--backend", "b", "Who?")
    assert result.returncode == ExitCode.INTERRUPTED
    assert set(result.stdout.rstrip("\n").split("\n\n")) == {"## a", "I am a.", "## b", "I am b."}
    assert "llmchat: b: the recording ends" in result.stderr
    assert "finished first" in result.stderr


def test_events_are_tagged_with_the_backend(llmchat: Llmchat, two: Path) -> None:
    result = llmchat("ask", "--config", two, "--backend", "a", "--backend", "b", "--json", "Who?")
    events = [json.loads(line) for line in result.stdout.splitlines()]
    texts = {name: "".join(it.get("text", "") for it in events if it["backend"] == name) for name in "ab"}
    assert texts == {"a": "I am a.", "b": "I am b."}
    assert {it["backend"]: it["event"] for it in events} == {"a": "done", "b": "error"}


def test_the_same_backend_twice_is_refused(llmchat: Llmchat, two: Path) -> None:
    result = llmchat("ask", "--config", two, "--backend", "a", "--backend", "a", "Who?")
    assert (result.returncode, result.stdout) == (ExitCode.USAGE, "")
    assert "twice" in result.stderr
