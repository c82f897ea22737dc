"""Why an answer was slow: a table of cases."""

from __future__ import annotations

import pytest

from backends.backend import Message, Role
from backends.config import Budget
from backends.events import Done, Error, Event, Meta, Status, Token
from backends.telemetry.explain import explain, slow_first_token, slow_generation
from backends.telemetry.stages import Span, Stage
from backends.telemetry.timeline import Timeline

BUDGET = Budget(500, 5_000)


def turn(
    ttft: float = 300.0,
    tokens: int = 20,
    gap: float = 20.0,
    stages: dict[Stage, float] | None = None,
    prompt: tuple[str, ...] = (),
    **told: object,
) -> Timeline:
    """An answer of `tokens` tokens; `stages` follow one another from Enter on, `prompt` are the messages' texts."""
    timeline = Timeline()
    roles: tuple[Role, ...] = ("system", "user", "assistant", "user")
    timeline.messages = tuple(Message(role, text) for role, text in zip(roles, prompt, strict=False))
    spans, at = [], 0.0
    for stage, ms in (stages or {}).items():
        spans.append(Span(stage, at, ms))
        at += ms
    timeline.add(Meta("qwen", ttft, spans=tuple(spans), **told), ttft)  # type: ignore[arg-type]
    for number in range(tokens):
        timeline.add(Token("a"), ttft + gap * number)
    end = ttft + gap * max(0, tokens - 1)
    timeline.add(Done(tokens, end), end)
    return timeline


SYSTEM = "You answer for Example Ltd, in few words, and never guess. "
OLD = turn(prompt=(SYSTEM + "It is 09:41. " + "More of the rules. " * 20, "One?"))
DATED = (SYSTEM + "It is 09:42. " + "More of the rules. " * 20, "One?", "One.", "Two?")
SAME = (SYSTEM + "It is 09:41. " + "More of the rules. " * 20, "One?", "One.", "Two?")
EDITED = (SYSTEM + "It is 09:41. " + "More of the rules. " * 20, "Another?", "One.", "Two?")


@pytest.mark.parametrize(
    ("timeline", "earlier", "what", "step"),
    [
        (
            turn(1_600, stages={"prefill": 1_475}, prompt_tokens=2_950, cached_tokens=0, prompt=SAME[:2]),
            None,
            "reading 2,950 of 2,950 prompt tokens at 2,000 tokens/s, 0 cached; it is the first turn here",
            "the next turn will reuse it",
        ),
        (
            turn(1_600, stages={"prefill": 1_475}, prompt_tokens=2_950, cached_tokens=0, prompt=DATED),
            OLD,
            "it parts from the last prompt in message 1 (system) behind character 64, about token 407:",
            "belongs at the end, into the newest message",
        ),
        (
            turn(1_600, stages={"prefill": 1_475}, prompt_tokens=2_950, cached_tokens=100, prompt=SAME),
            OLD,
            "the prompt only goes on where the last one ended, so the cache had let go of it",
            "let the server keep more",
        ),
        (
            turn(1_600, stages={"prefill": 1_475}, prompt_tokens=2_950, cached_tokens=100, prompt=EDITED),
            OLD,
            "in message 2 (user) near its beginning, about token 2,849:",
            "an earlier question was changed",
        ),
        (
            turn(1_600, stages={"prefill": 1_475}, prompt_tokens=2_950, cached_tokens=2_000),
            None,
            "reading 950 of 2,950 prompt tokens",
            "what is new is long",
        ),
        (
            turn(1_600, stages={"prefill": 1_475}, prompt_tokens=2_950),
            None,
            "does not say what it had cached",
            "shorter",
        ),
        (turn(1_600, stages={"prefill": 1_475}), None, "reading the prompt", "shorten it"),
        (turn(2_600, stages={"provider_queue": 2_400}), None, "waiting in the queue", "max_streams"),
        (turn(900, stages={"network_in": 800}), None, "the way there and back", "nearer"),
        (turn(900, stages={"connect": 800}), None, "opening the connection", "stays open"),
        (turn(900, stages={"retrieval": 700}), None, "searching the documents", "top_k"),
        (turn(900, stages={"reranking": 700}), None, "reranking", "fewer passages"),
        (turn(9_000, stages={"model_load": 8_500}), None, "loading the model", "keep it loaded"),
        (turn(900, stages={"auth": 700}), None, "authentication", "token"),
        (turn(900), None, "no stage accounts for it", "reports its stages"),
        (
            turn(gap=80, draft_tokens=400, accepted_tokens=120),
            None,
            "20 tokens at 12.5 a second; of 400 drafted tokens 120 were right (30 %)",
            "another one of the same family",
        ),
        (turn(gap=80, prompt_tokens=100, kv_used=2_000), None, "others were answered in the same batch", "max_streams"),
        (turn(gap=80, prompt_tokens=20_000), None, "looks back at up to 20,020 others", "new conversation"),
        (turn(gap=80), None, "that is what this model (qwen) reaches", "smaller or more quantized"),
        (turn(tokens=400), None, "a long answer: 400 tokens at 50 a second", "max_tokens"),
    ],
)
def test_causes(timeline: Timeline, earlier: Timeline | None, what: str, step: str) -> None:
    """Told alike of a turn that runs, and of one that was stored."""
    for one, before in (
        (timeline, earlier),
        (Timeline.load(timeline.dump()), Timeline.load(earlier.dump()) if earlier else None),
    ):
        finding = explain(one, BUDGET, before).findings[0]
        assert what in finding.what
        assert step in finding.step


def test_the_costliest_comes_first_and_trifles_are_left_out() -> None:
    timeline = turn(1_000, stages={"connect": 30, "retrieval": 300, "prefill": 600}, prompt_tokens=600)
    findings = explain(timeline, BUDGET).findings
    assert [round(finding.ms) for finding in findings] == [600, 300]


def test_an_uneven_pace_is_told_from_a_slow_one() -> None:
    timeline = Timeline()
    at = 100.0
    for number in range(100):
        timeline.add(Token("a"), at)
        at += 900.0 if number % 10 == 0 else 20.0
    timeline.end("complete", at)
    assert "gaps of 20 ms at the median, 900 ms at P95" in explain(timeline, BUDGET).findings[0].what


def test_a_fast_answer_needs_no_explanation() -> None:
    found = explain(turn(), BUDGET)
    assert found.findings == ()
    assert found.verdict == "TTFT 300 ms, within its budget of 500 ms; total 680 ms, within its budget of 5.0 s"


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (Error("CONNECT", "nobody listens"), "no token came in 40 ms; it ended with CONNECT: nobody listens"),
        (Done(0, 40.0, "cancelled"), "total 40 ms, within its budget of 5.0 s; it was cancelled"),
    ],
)
def test_an_answer_that_never_came(event: Event, words: str) -> None:
    timeline = Timeline()
    timeline.add(Status("queued"), 1.0)
    timeline.add(event, 40.0)
    assert explain(timeline, BUDGET).verdict == words


@pytest.mark.parametrize(
    ("prompt", "cached", "earlier", "words"),
    [
        (DATED, 0, OLD, "none cached: new from token 407 on (system)"),
        (SAME, 100, OLD, "100 cached: the cache had let go of it"),
        (EDITED, 100, OLD, "100 cached: new from token 2,849 on (user)"),
        (DATED, 450, OLD, "450 cached: new from token 450 on (system)"),
        (DATED, 0, None, "none cached"),
        (DATED, 2_900, OLD, "2,900 cached"),
    ],
)
def test_one_line_says_where_the_prompt_parted(
    prompt: tuple[str, ...], cached: int, earlier: Timeline | None, words: str
) -> None:
    timeline = turn(1_600, stages={"prefill": 976}, prompt_tokens=2_950, cached_tokens=cached, prompt=prompt)
    line = slow_first_token(timeline, BUDGET.ttft_ms, earlier)
    assert line == f"TTFT 1.6 s: 61 % prefill of 2,950 tokens, {words}"


def test_one_line_under_a_slow_answer() -> None:
    assert slow_generation(turn()) is None
    assert slow_generation(turn(gap=80, tokens=3)) is None
    line = slow_generation(turn(gap=80, draft_tokens=10, accepted_tokens=2))
    assert line == "20 tokens at 12.5 a second; of 10 drafted tokens 2 were right (20 %)"
