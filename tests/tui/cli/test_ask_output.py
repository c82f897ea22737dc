"""What `llmchat ask` prints for a stream of events."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence

import pytest

from backends.events import Citation, Done, Error, Event, Meta, Reasoning, Status, Token
from backends.telemetry.stages import Span
from backends.telemetry.timeline import Outcome, Timeline
from tui.commands.ask_output import JsonOutput, TextOutput, statistics


class Terminal(io.StringIO):
    """A terminal on which everything written stays to be looked at."""

    def isatty(self) -> bool:
        return True


STREAM = (
    Status("retrieving", 1, 3),
    Status("reranking", 2, 3),
    Token("You can"),
    Status("generating"),
    Token(" pause it [S1]."),
    Citation(source="faq.md", id="S1", title="FAQ", locator="Pausing"),
    Citation(source="faq.md", id="S1", title="FAQ", locator="Pausing"),
    Done(7, 120.0),
)


def played(events: Sequence[Event], ending: Outcome = "interrupted") -> Timeline:
    """The timeline of `events`, 10 ms apart, ended by `ending` unless they say how."""
    timeline = Timeline()
    for number, event in enumerate(events):
        timeline.add(event, 10.0 * number)
    timeline.end(ending, 10.0 * len(events))
    return timeline


def printed(
    events: Sequence[Event],
    *,
    ending: Outcome = "interrupted",
    stdout: type[io.StringIO] = io.StringIO,
    stderr: type[io.StringIO] = io.StringIO,
    sources: bool = False,
) -> tuple[str, str]:
    out, err = stdout(), stderr()
    output = TextOutput(out, err, sources)
    for event in events:
        output.show(event)
    output.end(played(events, ending))
    return out.getvalue(), err.getvalue()


def test_a_pipe_gets_the_text_and_nothing_else() -> None:
    assert printed(STREAM) == ("You can pause it [S1].\n", "")


def test_citations_follow_where_they_are_wanted() -> None:
    expected = "You can pause it [S1].\n\n[S1] faq.md, FAQ, Pausing\n"
    assert printed(STREAM, sources=True) == (expected, "")
    assert printed(STREAM, stdout=Terminal) == (expected, "")


def test_a_terminal_sees_what_is_waited_for_until_the_first_token() -> None:
    out, err = printed(STREAM, stderr=Terminal)
    assert out == "You can pause it [S1].\n"
    assert err == "\r\x1b[KStep 1 of 3: retrieving\r\x1b[KStep 2 of 3: reranking\r\x1b[K"


def test_a_long_status_stays_on_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    _, err = printed([Status("loading", detail="x" * 100), Token("a"), Done(1, 1.0)], stderr=Terminal)
    assert max(len(part) for part in err.split("\r\x1b[K")) == 19


def test_a_terminal_gets_no_control_characters() -> None:
    evil = [Token("a\x1b]0;title\x07\r"), Token("\nb\u202ec\td\r"), Token("e"), Error("X", "bad \x1b[31m\nred")]
    out, err = printed(evil, stdout=Terminal, stderr=Terminal)
    assert out == "a␛]0;title␇\nb‹U+202E›c\td\ne\n"
    assert err == "llmchat: bad ␛[31m red\n"


def test_an_emoji_that_comes_in_pieces_stays_whole() -> None:
    stream = (Token("👩"), Token("\u200d"), Token("👧 "), Token("\u200d!"), Done(3, 1.0))
    out, _ = printed(stream, stdout=Terminal)
    assert out == "👩\u200d👧 ‹U+200D›!\n"


def test_a_file_gets_the_text_as_it_is() -> None:
    assert printed([Token("a\x1b[1m\r\nb"), Done(1, 1.0)])[0] == "a\x1b[1m\r\nb\n"


def test_an_error_keeps_the_text_and_explains_itself() -> None:
    out, err = printed([Token("half"), Error("TIMEOUT_IDLE", "http://x: silent for 60 s")])
    assert (out, err) == ("half\n", "llmchat: http://x: silent for 60 s\n")


def test_endings_that_are_not_obvious_are_told() -> None:
    assert "truncated" in printed([Token("a"), Done(1, 1.0, "length")])[1]
    assert printed([Token("a"), Done(1, 1.0, "length", "the context is full")])[1] == "llmchat: the context is full\n"
    left_out = "the 90 oldest tokens were left out"
    assert printed([Token("a"), Done(1, 1.0, "stop", left_out)])[1] == f"llmchat: {left_out}\n"
    assert "interrupted" in printed([Token("a")])[1]
    assert printed([Token("a")], ending="cancelled") == ("a\n", "")
    assert printed([], ending="cancelled") == ("", "")
    assert printed([Token("a")], ending="failed") == ("a\n", ""), "whoever raised the defect tells it"


def test_thinking_is_not_the_answer() -> None:
    out, err = printed([Reasoning("hm"), Token("a"), Done(2, 1.0)], stderr=Terminal)
    assert out == "a\n"
    assert "thinking" in err


def lines_of(events: Sequence[Event], ending: Outcome = "interrupted") -> list[dict[str, object]]:
    out = io.BytesIO()
    output = JsonOutput(out)
    for event in events:
        output.show(event)
    output.end(played(events, ending))
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_json_is_one_event_a_line() -> None:
    lines = lines_of(STREAM)
    assert [line["event"] for line in lines] == [
        *("status", "status", "token", "status", "token", "citation", "citation", "done"),
    ]
    assert lines[2] == {"event": "token", "text": "You can"}
    assert lines[-1] == {"event": "done", "totalTokens": 7, "latency": 120.0, "finishReason": "stop"}


@pytest.mark.parametrize(
    ("events", "ending", "last"),
    [
        ([Token("a"), Done(1, 1.0, "length")], "interrupted", {"event": "done", "finishReason": "length"}),
        ([Token("a")], "interrupted", {"event": "done", "finishReason": "interrupted", "totalTokens": 1}),
        ([Token("a")], "cancelled", {"event": "done", "finishReason": "cancelled", "totalTokens": 1}),
        ([], "cancelled", {"event": "done", "finishReason": "cancelled", "totalTokens": 0}),
        ([Token("a")], "failed", {"event": "error", "code": "INTERNAL"}),
        ([Error("CONNECT", "no"), Error("INTERNAL", "late")], "interrupted", {"event": "error", "code": "CONNECT"}),
        ([Done(1, 1.0, "stop"), Error("INTERNAL", "late")], "interrupted", {"event": "done", "finishReason": "stop"}),
    ],
)
def test_json_ends_with_exactly_one_terminal_event(
    events: list[Event], ending: Outcome, last: dict[str, object]
) -> None:
    lines = lines_of(events, ending)
    assert last.items() <= lines[-1].items()
    assert sum(line["event"] in ("done", "error") for line in lines) == 1


def test_statistics() -> None:
    timeline = Timeline()
    timeline.add(Token("a"), 400.0)
    timeline.add(Token("b", 10), 600.0)
    usage = {"prompt_tokens": 2950, "cached_tokens": 2048, "draft_tokens": 8, "accepted_tokens": 6}
    spans = (Span("retrieval", 0.0, 50.0), Span("prefill", 50.0, 300.0))
    timeline.add(Meta(spans=spans, **usage), 600.0)
    timeline.add(Done(11, 610.0), 610.0)
    assert statistics(timeline).splitlines() == [
        "TTFT 400 ms · TPOT 20.0 ms · 50 tok/s · total 610 ms · 11 tokens · prompt 2,950 (2,048 cached)"
        " · draft accepted 75 % · complete",
        "TTFT = retrieval 50 ms + prefill 300 ms + unattributed 50 ms",
    ]


def test_the_cost_is_told_where_the_server_tells_it() -> None:
    assert (
        statistics(played([Meta(cost=0.0004), Token("a")], "complete"))
        .splitlines()[0]
        .endswith("cost $0.00040 · complete")
    )


def test_which_of_several_backends_answered_is_told() -> None:
    said = statistics(played([Meta(route="gpu: not measured yet"), Token("a")], "complete"))
    assert said.splitlines()[-1] == "route: gpu: not measured yet"


def test_statistics_of_nothing() -> None:
    assert statistics(played([], "cancelled")) == "no token · total 0 ms · 0 tokens · cancelled"
