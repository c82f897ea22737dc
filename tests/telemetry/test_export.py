"""Turns for other programs."""

from __future__ import annotations

import itertools
import json

import msgspec
import pytest

from backends.backend import Message
from backends.events import Done, Meta, Token
from backends.telemetry.export import TurnRecord, json_line, schema, trace
from backends.telemetry.stages import Span, Stage
from backends.telemetry.timeline import Asked, Timeline
from backends.telemetry.turns import TurnNumbers, numbers_of


def turn(started: float = 1_000.0) -> tuple[TurnNumbers, Timeline]:
    timeline = Timeline(asked=Asked("box"))
    timeline.messages = (Message("user", "a secret question"),)
    spans = (Span("retrieval", 5, 25), Span("prefill", 10, 50))
    timeline.add(Meta("qwen", 65.0, prompt_tokens=70, spans=spans), 65.0)
    timeline.add(Token("secret"), 65.0)
    timeline.add(Token("words", count=2), 80.0)
    timeline.add(Done(3, 100.0), 100.0)
    timeline = Timeline.load(timeline.dump())
    return msgspec.structs.replace(numbers_of(timeline, started), id=7), timeline


def test_a_line_is_of_its_schema_and_adds_up() -> None:
    line = json_line(*turn())
    again = msgspec.json.decode(line, type=TurnRecord)
    assert again.numbers == turn()[0]
    assert sum(part.duration_ms for part in again.critical_path) == pytest.approx(again.numbers.total)
    assert [(chunk.at_ms, chunk.tokens) for chunk in again.chunks] == [(65.0, 1), (80.0, 2)]
    assert {span.stage for span in again.spans} == {"retrieval", "prefill", "total_generation"}
    fields = schema()["$defs"]["TurnRecord"]["required"]
    assert set(json.loads(line)) == set(fields)
    assert not any("\n" in of.get("description", "") for of in schema()["$defs"].values())
    assert b"secret" not in line
    assert b"\n" not in line


def test_slices_that_follow_one_another_never_overlap() -> None:
    numbers, timeline = turn()
    edges = [0.0, 5.16726, 10.00644, 10.27288, 16.87851, 22.12149, 64.0]
    stages: tuple[Stage, ...] = ("auth", "retrieval", "reranking", "context_assembly", "provider_queue", "prefill")
    spans = tuple(Span(stage, at, end - at) for stage, (at, end) in zip(stages, itertools.pairwise(edges), strict=True))
    timeline.add(Meta("qwen", 65.0, spans=spans), 65.0)
    whole, *path = (one for one in trace([(numbers, timeline)])["traceEvents"] if one["ph"] == "X" and one["tid"] == 1)
    assert len(path) > len(stages)
    for one, after in itertools.pairwise(path):
        assert round(one["ts"] + one["dur"], 1) <= after["ts"]
    assert round(path[-1]["ts"] + path[-1]["dur"], 1) <= whole["ts"] + whole["dur"]


def test_a_trace_has_every_stage_where_it_was() -> None:
    found = trace([turn(1_000.0), turn(1_002.0)])
    slices = [event for event in found["traceEvents"] if event["ph"] == "X"]
    second = [event for event in slices if event["ts"] >= 2_000_000]
    prefill = next(event for event in second if event["name"] == "prefill" and event["args"])
    assert (prefill["ts"], prefill["dur"], prefill["args"]) == (2_010_000, 50_000, {"measured by": "server"})
    path = [event["name"] for event in second if event["tid"] == 1]
    assert path == ["turn", "unattributed", "retrieval", "prefill", "unattributed", "total_generation"]
    tokens = [event for event in found["traceEvents"] if event["ph"] == "i"]
    assert [event["args"]["tokens"] for event in tokens] == [1, 2, 1, 2]
    names = {event["args"]["name"] for event in found["traceEvents"] if event["name"] == "thread_name"}
    assert names == {"critical path", "retrieval", "prefill", "total_generation", "chunks"}
    assert "secret" not in json.dumps(found)
