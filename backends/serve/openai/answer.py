"""A stream's events as chat completion chunks, or as one completion. Pure but for the clock that names its date."""

from __future__ import annotations

import time
from collections.abc import Iterable

import msgspec

from backends.events import Citation, Done, Error, Event, FinishReason, Reasoning, Token
from backends.events import Logprob as EventLogprob
from backends.serve.openai import forms
from backends.serve.replies import error_detail, refusal_of
from backends.serve.server_timing import stage_durations
from backends.serve.wire import EVENT_STREAM
from backends.telemetry.timeline import Timeline

_ENCODER = msgspec.json.Encoder()
_FINISH: dict[FinishReason, forms.Finish] = {
    "length": "length",
    "content_filter": "content_filter",
    "tool_calls": "tool_calls",
}
_LAST = b"data: [DONE]\n\n"


class _Answer:
    """What both forms know of their answer: its id and date, who gives it, and what it took."""

    def __init__(self, model: str, stream_id: str, timeline: Timeline) -> None:
        """`model`: who answers, until the backend says better. `timeline`: the stream's, which is ahead of us."""
        self.id = f"chatcmpl-{stream_id}"
        self.created = int(time.time())
        self._asked = model
        self._timeline = timeline

    @property
    def model(self) -> str:
        """Who answers."""
        return self._timeline.usage.model or self._asked

    @property
    def usage(self) -> forms.Usage:
        """The tokens so far."""
        told = self._timeline.usage
        prompt, completion = told.prompt_tokens or 0, _completion_tokens(self._timeline)
        drafted, accepted = told.draft_tokens or 0, told.accepted_tokens or 0
        return forms.Usage(
            prompt_tokens=prompt,
            completion_tokens=completion,
            total_tokens=prompt + completion,
            prompt_tokens_details=forms.PromptDetails(told.cached_tokens or 0),
            completion_tokens_details=forms.CompletionDetails(
                told.reasoning_tokens or 0, accepted, max(0, drafted - accepted)
            ),
        )

    @property
    def timings(self) -> forms.Timings:
        """The same with times, as llama-server has them."""
        told, stages = self._timeline.usage, self.stages
        cached, completion = told.cached_tokens or 0, _completion_tokens(self._timeline)
        prompt = max(0, (told.prompt_tokens or 0) - cached)
        prompt_ms = stages.get("prefill", 0.0)
        predicted_ms = stages.get("total_generation", 0.0)
        return forms.Timings(
            cache_n=cached,
            prompt_n=prompt,
            prompt_ms=prompt_ms,
            prompt_per_token_ms=_ratio(prompt_ms, prompt),
            prompt_per_second=_ratio(1000.0 * prompt, prompt_ms),
            predicted_n=completion,
            predicted_ms=predicted_ms,
            predicted_per_token_ms=_ratio(predicted_ms, completion),
            predicted_per_second=_ratio(1000.0 * completion, predicted_ms),
            draft_n=told.draft_tokens,
            draft_n_accepted=told.accepted_tokens,
        )

    @property
    def stages(self) -> dict[str, float]:
        """Milliseconds by stage."""
        now = self._timeline.end_ms or 0.0
        return {stage: round(ms, 3) for stage, ms in stage_durations(self._timeline, now).items()}


class ChunkWire(_Answer):
    """`Wire` of a streamed answer: ``chat.completion.chunk`` objects, the last of them followed by ``[DONE]``."""

    content_type = EVENT_STREAM
    is_live = True
    is_resumable = False

    def __init__(self, model: str, stream_id: str, timeline: Timeline, *, include_usage: bool) -> None:
        super().__init__(model, stream_id, timeline)
        self._include_usage = include_usage
        self._introduced = False

    def frame(self, event: Event, number: int) -> bytes:
        """See `Wire.frame`."""
        match event:
            case Token():
                return self._delta(forms.Delta(content=event.text), _logprobs(event.logprobs))
            case Reasoning():
                return self._delta(forms.Delta(reasoning_content=event.text))
            case Citation():
                return self._delta(forms.Delta(citations=(event,)))
            case Done():
                return self._end(event)
            case Error():
                return b"data: %b\n\n" % _ENCODER.encode({"error": error_detail(refusal_of(event))})
        return b""

    def _delta(self, delta: forms.Delta, logprobs: forms.Logprobs | None = None) -> bytes:
        said = self._data((forms.ChunkChoice(delta, logprobs=logprobs),))
        return self._introduction() + said

    def _introduction(self) -> bytes:
        if self._introduced:
            return b""
        self._introduced = True
        return self._data((forms.ChunkChoice(forms.Delta("assistant", "")),))

    def _end(self, done: Done) -> bytes:
        first = self._introduction()
        choice = forms.ChunkChoice(forms.Delta(), _FINISH.get(done.finish_reason, "stop"))
        if not self._include_usage:
            return first + self._data((choice,), timings=self.timings, stages=self.stages) + _LAST
        last = self._data((), usage=self.usage, timings=self.timings, stages=self.stages)
        return first + self._data((choice,)) + last + _LAST

    def _data(
        self,
        choices: tuple[forms.ChunkChoice, ...],
        usage: forms.Usage | None = None,
        timings: forms.Timings | msgspec.UnsetType = msgspec.UNSET,
        stages: dict[str, float] | msgspec.UnsetType = msgspec.UNSET,
    ) -> bytes:
        told = usage if self._include_usage else msgspec.UNSET
        return b"data: %b\n\n" % _ENCODER.encode(
            forms.Chunk(self.id, self.created, self.model, choices, told, timings, stages)
        )


class WholeWire(_Answer):
    """`Wire` of an answer in one piece: nothing is said before it is complete."""

    content_type = b"application/json"
    is_live = False
    is_resumable = False

    def __init__(self, model: str, stream_id: str, timeline: Timeline) -> None:
        super().__init__(model, stream_id, timeline)
        self._text: list[str] = []
        self._thoughts: list[str] = []
        self._citations: list[Citation] = []
        self._logprobs: list[forms.TokenLogprob] = []

    def frame(self, event: Event, number: int) -> bytes:
        """See `Wire.frame`."""
        match event:
            case Token():
                self._text.append(event.text)
                self._logprobs += _entries(event.logprobs)
            case Reasoning():
                self._thoughts.append(event.text)
            case Citation():
                self._citations.append(event)
            case Done():
                return self._whole(event)
        return b""

    def _whole(self, done: Done) -> bytes:
        message = forms.OutMessage(
            "".join(self._text), reasoning_content="".join(self._thoughts), citations=tuple(self._citations)
        )
        logprobs = forms.Logprobs(tuple(self._logprobs)) if self._logprobs else None
        choice = forms.Choice(message, _FINISH.get(done.finish_reason, "stop"), logprobs)
        return _ENCODER.encode(
            forms.Completion(self.id, self.created, self.model, (choice,), self.usage, self.timings, self.stages)
        )


def _completion_tokens(timeline: Timeline) -> int:
    told = timeline.usage.completion_tokens
    return timeline.tokens if told is None else told


def _ratio(value: float, by: float) -> float:
    return value / by if by else 0.0


def _logprobs(entries: Iterable[EventLogprob]) -> forms.Logprobs | None:
    found = tuple(_entries(entries))
    return forms.Logprobs(found) if found else None


def _entries(entries: Iterable[EventLogprob]) -> list[forms.TokenLogprob]:
    return [
        forms.TokenLogprob(
            each.token,
            each.logprob,
            tuple(each.token.encode()),
            tuple(forms.Logprob(other.token, other.logprob, tuple(other.token.encode())) for other in each.top),
        )
        for each in entries
    ]
