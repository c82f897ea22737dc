"""The provider `openai`: chunks to events."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import BackendError, Code
from backends.events import Done, Error, Event, Meta, Reasoning, Status, Token, is_terminal
from backends.providers.openai import ChunkReader
from backends.sse.placement import Timing
from backends.telemetry.stages import Span
from tests.fakes import recorded
from tests.fakes.openai_server import MODEL, chunk, data, usage
from tests.providers.reading import events_of, of


def read(*chunks: bytes, first_at: float = 100.0, timing: Timing | None = None) -> list[Event]:
    """The events of some chunks."""
    pieces = (chunk.decode().removeprefix("data: ").strip() for chunk in chunks)
    return events_of(ChunkReader(timing or Timing(), "server"), pieces, first_at)


KEYS = (
    *("choices", "delta", "content", "finish_reason", "error", "message", "code", "total"),
    *("usage", "completion_tokens", "timings", "prompt_ms", "metrics", "prompt_progress"),
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(KEYS), inner))


class TestChunks:
    def test_a_plain_answer(self) -> None:
        found = read(
            chunk({"role": "assistant", "content": ""}),
            chunk({"content": "Hel"}),
            chunk({"content": "lo"}),
            chunk({}, finish_reason="stop"),
            data("[DONE]"),
        )

        assert of(Token, found) == [Token("Hel"), Token("lo")]
        assert found[-1] == Done(2, 140.0, "stop")
        assert (found[0].model, found[0].request_id) == (MODEL, "chatcmpl-1")  # type: ignore[union-attr]

    def test_the_clients_own_stages_come_first(self) -> None:
        timing = Timing(1.0, 3.0, 3.0, 4.0)

        found = read(chunk({"content": "a"}), timing=timing)

        assert of(Meta, found)[0].spans == (
            Span("connect", 1.0, 2.0, "client"),
            Span("network_in", 3.0, 1.0, "client"),
        )

    @pytest.mark.parametrize(
        ("reason", "finish"),
        [
            ("stop", "stop"),
            ("length", "length"),
            ("content_filter", "content_filter"),
            ("tool_calls", "tool_calls"),
            ("function_call", "tool_calls"),
            ("eos", "stop"),
        ],
    )
    def test_finish_reasons(self, reason: str, finish: str) -> None:
        assert read(chunk({"content": "a"}), chunk({}, finish_reason=reason))[-1] == Done(1, 120.0, finish)  # type: ignore[arg-type]

    @pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
    def test_thinking(self, field: str) -> None:
        found = read(chunk({field: "hm", "content": None}), chunk({"content": "a"}), chunk({}, finish_reason="stop"))

        assert of(Reasoning, found) == [Reasoning("hm")]
        assert of(Token, found) == [Token("a")]

    def test_text_in_parts(self) -> None:
        parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]

        assert of(Token, read(chunk({"content": parts}))) == [Token("ab")]

    def test_usage(self) -> None:
        found = read(
            chunk({"content": "a"}),
            chunk({}, finish_reason="length"),
            usage(
                prompt_tokens=50,
                completion_tokens=7,
                prompt_tokens_details={"cached_tokens": 32},
                completion_tokens_details={"reasoning_tokens": 3},
            ),
            data("[DONE]"),
        )

        meta = of(Meta, found)[-1]
        assert (meta.prompt_tokens, meta.completion_tokens, meta.cached_tokens, meta.reasoning_tokens) == (50, 7, 32, 3)
        assert found[-1] == Done(7, 130.0, "length")

    def test_running_usage_gives_each_piece_its_count(self) -> None:
        found = read(
            chunk({"content": "a"}, usage={"completion_tokens": 2}),
            chunk({"content": "b"}, usage={"completion_tokens": 5}),
            chunk({}, finish_reason="stop", usage={"completion_tokens": 5}),
        )

        assert of(Token, found) == [Token("a", 2), Token("b", 3)]
        assert found[-1].total_tokens == 5  # type: ignore[union-attr]

    def test_llama_servers_progress_and_timings(self) -> None:
        timings = {
            "cache_n": 20,
            "prompt_n": 30,
            "prompt_ms": 60.0,
            "predicted_n": 2,
            "predicted_ms": 15.0,
            "draft_n": 8,
            "draft_n_accepted": 6,
        }
        found = read(
            chunk({}, prompt_progress={"total": 50, "cache": 20, "processed": 40, "time_ms": 30}),
            chunk({}, prompt_progress={"total": 50, "cache": 20, "processed": 50, "time_ms": 60}),
            chunk({"content": "a"}),
            chunk({"content": "b"}),
            chunk({}, finish_reason="stop", timings=timings),
            timing=Timing(send_end=5.0),
        )

        assert of(Status, found) == [
            Status("prefilling", total=50, done=40, cached=20),
            Status("prefilling", total=50, done=50, cached=20, ms=60.0),
        ]
        meta = of(Meta, found)[-1]
        assert (meta.prompt_tokens, meta.cached_tokens, meta.completion_tokens) == (50, 20, 2)
        assert (meta.draft_tokens, meta.accepted_tokens) == (8, 6)
        assert meta.spans == (Span("prefill", 60.0, 60.0), Span("total_generation", 120.0, 15.0))

    def test_timings_that_cannot_fit_are_cut_at_the_sending(self) -> None:
        found = read(
            chunk({"content": "a"}),
            chunk({}, finish_reason="stop", timings={"prompt_ms": 500.0}),
            timing=Timing(send_end=40.0),
        )

        assert of(Meta, found)[-1].spans == (Span("prefill", 40.0, 60.0),)

    def test_vllms_metrics(self) -> None:
        metrics = {"time_to_first_token_ms": 50.0, "queue_time_ms": 20.0, "generation_time_ms": 80.0}

        found = read(chunk({"content": "a"}), chunk({}, finish_reason="stop", metrics=metrics))

        assert of(Meta, found)[-1].spans == (
            Span("provider_queue", 30.0, 20.0),
            Span("prefill", 50.0, 50.0),
            Span("total_generation", 100.0, 80.0),
        )

    def test_vllms_speculation(self) -> None:
        metrics = {"speculative_decoding": {"num_draft_tokens": 9, "num_accepted_draft_tokens": 6}}

        meta = of(Meta, read(chunk({"content": "a"}), chunk({}, finish_reason="stop", metrics=metrics)))[-1]

        assert (meta.draft_tokens, meta.accepted_tokens) == (9, 6)

    def test_times_in_seconds(self) -> None:
        groq = {"usage": {"queue_time": 0.02, "prompt_time": 0.05, "completion_time": 0.08, "completion_tokens": 1}}
        lm_studio = {"stats": {"time_to_first_token": 0.05, "generation_time": 0.08}}

        told = [of(Meta, read(chunk({"content": "a"}), chunk(None, **more)))[-1].spans for more in (groq, lm_studio)]

        rest = (Span("prefill", 50.0, 50.0), Span("total_generation", 100.0, 80.0))
        assert told == [(Span("provider_queue", 30.0, 20.0), *rest), rest]

    def test_a_recorded_stream_of_sglang(self) -> None:
        found = read(*recorded.SGLANG)

        assert of(Reasoning, found) == [Reasoning("The user"), Reasoning(" wants one word.")]
        assert of(Token, found) == [Token("OK")]
        meta = of(Meta, found)[-1]
        assert (meta.prompt_tokens, meta.completion_tokens, meta.reasoning_tokens) == (57, 28, 25)
        assert (meta.cached_tokens, meta.spans) == (None, ())
        assert (found[-1].total_tokens, found[-1].finish_reason) == (28, "stop")  # type: ignore[union-attr]

    def test_sglangs_cache_and_drafts(self) -> None:
        meta = of(Meta, read(*recorded.SGLANG[:-1], recorded.SGLANG_EXTRAS))[-1]

        assert (meta.cached_tokens, meta.draft_tokens, meta.accepted_tokens) == (44, 12, 6)

    def test_predictions_are_drafts_where_there_are_any(self) -> None:
        told = [
            of(Meta, read(chunk({"content": "a"}), usage(completion_tokens_details=details)))[-1]
            for details in (
                {"accepted_prediction_tokens": 6, "rejected_prediction_tokens": 3},
                {"accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0, "reasoning_tokens": 1},
            )
        ]

        assert [(meta.draft_tokens, meta.accepted_tokens) for meta in told] == [(9, 6), (None, None)]

    @pytest.mark.parametrize("reason", ["abort", "error"])
    def test_what_the_server_itself_gave_up_is_not_complete(self, reason: str) -> None:
        found = read(chunk({"content": "a"}), chunk({"content": "b"}, finish_reason=reason), data("[DONE]"))

        assert of(Token, found) == [Token("a"), Token("b")]
        assert isinstance(found[-1], Error)
        assert (found[-1].code, found[-1].retryable) == ("INTERRUPTED", True)
        assert sum(map(is_terminal, found)) == 1

    def test_recorded_answers_of_lm_studio(self) -> None:
        whole, drafts = (
            of(Meta, read(chunk({"content": "a"}), chunk({}, finish_reason="length"), last, first_at=2000.0))[-1]
            for last in (recorded.LM_STUDIO_V0, recorded.LM_STUDIO_V1)
        )

        assert (whole.prompt_tokens, whole.completion_tokens, whole.reasoning_tokens) == (66, 300, 300)
        assert (whole.draft_tokens, whole.accepted_tokens) == (492, 176)
        assert [(span.stage, round(span.duration)) for span in whole.spans] == [
            ("prefill", 1162),
            ("total_generation", 17839),
        ]
        assert (drafts.draft_tokens, drafts.accepted_tokens, drafts.spans) == (20, 17, ())

    def test_what_openrouter_adds(self) -> None:
        usage_told = {"prompt_tokens": 5, "completion_tokens": 1, "cost": 0.00025}
        broken = {"code": 502, "message": "Provider disconnected"}

        whole = read(chunk({"reasoning": "hm"}), chunk({"content": "a"}), usage(**usage_told), data("[DONE]"))
        cut = read(chunk({"content": "a"}), chunk({"content": ""}, finish_reason="error", error=broken))

        assert of(Meta, whole)[-1].cost == 0.00025
        assert isinstance(cut[-1], Error)
        assert (cut[-1].code, cut[-1].retryable) == ("HTTP_502", True)
        assert "Provider disconnected" in cut[-1].message

    def test_a_body_that_ends_after_the_finish_reason_is_complete(self) -> None:
        assert isinstance(read(chunk({"content": "a"}), chunk({}, finish_reason="stop"))[-1], Done)

    def test_a_body_that_ends_before_was_interrupted(self) -> None:
        last = read(chunk({"content": "a"}))[-1]

        assert isinstance(last, Error)
        assert (last.code, last.retryable) == ("INTERRUPTED", True)

    @pytest.mark.parametrize(
        ("body", "code", "says"),
        [
            ({"message": "overloaded", "code": 503}, "HTTP_503", "overloaded"),
            ({"message": "too long", "type": "exceed_context_size_error", "code": 400}, "CONTEXT_FULL", "too long"),
            ({"message": "too long", "code": "context_length_exceeded"}, "CONTEXT_FULL", "too long"),
            ({"message": "\x1b[31mbroken"}, "BAD_RESPONSE", "broken"),
            ("just words", "BAD_RESPONSE", "just words"),
            ({"x": 1}, "BAD_RESPONSE", "without words"),
        ],
    )
    def test_an_error_inside_a_200(self, body: Any, code: str, says: str) -> None:
        found = read(chunk({"content": "a"}), data(json.dumps({"error": body})))

        assert isinstance(found[-1], Error)
        assert found[-1].code == code
        assert says in found[-1].message
        assert "\x1b" not in found[-1].message
        assert sum(map(is_terminal, found)) == 1

    @pytest.mark.parametrize("text", ["{", "[]", "5", "nonsense"])
    def test_what_is_no_chunk(self, text: str) -> None:
        with pytest.raises(BackendError) as caught:
            read(data(text))
        assert caught.value.code == Code.BAD_RESPONSE

    @pytest.mark.parametrize(
        "odd", [{"choices": None}, {"choices": [None]}, {"choices": [{"delta": 5}]}, {"usage": 5}, {}]
    )
    def test_odd_shapes_are_passed_over(self, odd: dict[str, Any]) -> None:
        found = read(data(json.dumps(odd)), chunk({"content": "a"}), chunk({}, finish_reason="stop"))

        assert of(Token, found) == [Token("a")]

    @given(JSON)
    def test_whatever_json_comes_the_end_is_one(self, value: Any) -> None:
        try:
            found = read(data(json.dumps(value)), chunk({"content": "a"}), data("[DONE]"))
        except BackendError:
            return
        assert sum(map(is_terminal, found)) == 1
