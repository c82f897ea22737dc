"""An answer in somebody's wire form, read as events: what is alike in all of them. Pure, no sockets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import msgspec

from backends.errors import BackendError, Code, http_code
from backends.events import Done, Error, Event, FinishReason, Logprob, Meta, Reasoning, Token
from backends.sse.excerpt import clean, is_context_full, is_out_of_credit, message_of
from backends.sse.placement import Timing
from backends.telemetry.stages import Span, Stage

_DECODER = msgspec.json.Decoder()

Path = tuple[str, ...]
Counts = Sequence[tuple[str, Path]]
"""Where a server tells a count: the field of `Meta`, and the path to it. The first place that tells wins."""

Durations = Sequence[tuple[Stage, Path, float]]
"""Where a server tells how long a stage took: the path to the number, and its unit in milliseconds."""


class AnswerReader(ABC):
    """One answer as events. It gets each piece's data (a JSON object) and the time it came, in order.

    `finished`: the end was told, so that the answer is whole even if the connection breaks now. `ended`: the terminal
    event was given out.
    """

    COUNTS: ClassVar[Counts] = ()
    DURATIONS: ClassVar[Durations] = ()
    STATUSES: ClassVar[dict[str, int]] = {}
    """The HTTP status that an error's `type` or `code` stands for."""
    _TOLD_IN: ClassVar[tuple[frozenset[str], frozenset[str]]]
    """The keys of a piece behind which there may be a count, and a duration: most pieces have none of them."""

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        cls._TOLD_IN = frozenset(path[0] for _, path in cls.COUNTS), frozenset(path[0] for _, path, _ in cls.DURATIONS)

    def __init__(self, timing: Timing, where: str, secrets: Iterable[str] = ()) -> None:
        """`timing`: what the client measured of its request. `where` names the server in messages."""
        self.finished = self.ended = False
        self._timing = timing
        self._where = where
        self._secrets = tuple(secrets)
        self._finish_reason: FinishReason = "stop"
        self._detail = ""
        self._introduced = False
        self._first_at: float | None = None
        self._given_out = 0
        self._told: int | None = None

    def read(self, data: str, now: float) -> list[Event]:
        """The events in one piece, `now` milliseconds after the call. Raises BackendError (BAD_RESPONSE)."""
        if not data.strip():
            return []
        if data.strip() == "[DONE]":
            self.finished = True
            return self.end(now)
        try:
            value = _DECODER.decode(data)
        except (msgspec.DecodeError, RecursionError):
            raise self._malformed(data) from None
        if not isinstance(value, dict):
            raise self._malformed(data)
        if error := value.get("error"):
            return self._broken_off(error)
        return self._take(value, now)

    def end(self, now: float) -> list[Event]:
        """The last event, where the body ends: `Done`, or an INTERRUPTED `Error` when no end was told."""
        if self.ended:
            return []
        self.ended = True
        if not self.finished:
            message = f"{self._where}: the stream ended before the answer was complete"
            return [Error(Code.INTERRUPTED, message, retryable=True)]
        total = self._given_out if self._told is None else self._told
        return [Done(total, now, self._finish_reason, self._detail)]

    @abstractmethod
    def _take(self, value: dict[str, Any], now: float) -> list[Event]:
        """The events in one JSON object."""

    def _introduction(self, model: Any, request_id: Any, now: float) -> list[Event]:
        """Who answers, once, with the stages that only this side can see."""
        if self._introduced:
            return []
        self._introduced = True
        timing = self._timing
        spans = (*timing.connect_spans(), timing.send_span(), *timing.wait_spans())
        connection = timing.connection or None
        return [Meta(text_of(model) or None, now, text_of(request_id) or None, connection=connection, spans=spans)]

    def _finish(self, reason: FinishReason, detail: str = "") -> None:
        self.finished = True
        self._finish_reason, self._detail = reason, detail

    def _thought(self, text: str, count: int, now: float) -> list[Event]:
        if not text:
            return []
        self._give_out(count, now)
        return [Reasoning(text, count)]

    def _said(self, text: str, count: int, now: float, logprobs: tuple[Logprob, ...] = ()) -> list[Event]:
        if not text:
            return []
        self._give_out(count, now)
        return [Token(text, count, logprobs)]

    def _give_out(self, count: int, now: float) -> None:
        self._given_out += count
        self._first_at = now if self._first_at is None else self._first_at

    def _counts(self, value: dict[str, Any]) -> dict[str, Any]:
        """The counts that `value` tells, by the names of `Meta`."""
        counts: dict[str, Any] = {}
        if self._TOLD_IN[0].isdisjoint(value):
            return counts
        for name, path in self.COUNTS:
            number = at(value, path)
            if isinstance(number, int) and not isinstance(number, bool) and number >= 0:
                counts.setdefault(name, number)
        self._told = counts.get("completion_tokens", self._told)
        return counts

    def _spans(self, value: dict[str, Any]) -> tuple[Span, ...]:
        """The server's durations, laid back from the first token's arrival, which is when its prefill had ended."""
        if self._first_at is None or self._TOLD_IN[1].isdisjoint(value):
            return ()
        durations: dict[Stage, float] = {}
        for stage, path, unit in self.DURATIONS:
            if duration := milliseconds(at(value, path), unit):
                durations.setdefault(stage, duration)
        spans: list[Span] = []
        end = self._first_at
        for stage in _BEFORE_THE_FIRST_TOKEN:
            if stage in durations:
                begin = min(end, max(self._timing.send_end, end - durations[stage]))
                spans.insert(0, Span(stage, begin, end - begin))
                end = begin
        if generation := durations.get("total_generation"):
            spans.append(Span("total_generation", self._first_at, generation))
        return tuple(spans)

    def _broken_off(self, error: Any) -> list[Event]:
        """An error inside a 200: ``{"message", "type", "code"}`` or words; `code` may be an HTTP status."""
        self.ended = True
        fields = error if isinstance(error, dict) else {"message": error}
        message = clean(message_of(fields), secrets=self._secrets) or "the server reports an error without words"
        if is_context_full(fields):
            return [Error(Code.CONTEXT_FULL, f"{self._where}: {message}")]
        kinds = (fields.get("code"), fields.get("type"))
        status = next((self.STATUSES[kind] for kind in kinds if isinstance(kind, str) and kind in self.STATUSES), None)
        status = fields.get("code") if status is None else status
        if isinstance(status, int) and 400 <= status < 600:
            retryable = (status >= 500 or status == 429) and not is_out_of_credit(fields)
            return [Error(http_code(status), f"{self._where}: {message}", retryable=retryable)]
        return [Error(Code.BAD_RESPONSE, f"{self._where} broke off: {message}", retryable=True)]

    def _malformed(self, data: str) -> BackendError:
        shown = clean(data, 80, self._secrets)
        return BackendError(Code.BAD_RESPONSE, f"{self._where} sent a chunk that is not a JSON object: {shown}")


_BEFORE_THE_FIRST_TOKEN: tuple[Stage, ...] = ("prefill", "provider_queue", "model_load")
"""From the last to the first."""


def at(value: Any, path: Path) -> Any:
    """What stands in nested objects under `path`; None where nothing does."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def milliseconds(value: Any, unit: float = 1.0) -> float:
    """A duration that a server told in units of `unit` milliseconds; 0 for what is none."""
    return float(value) * unit if isinstance(value, int | float) and value >= 0 else 0.0


def text_of(value: Any) -> str:
    """A string, or the texts of a list of parts (Mistral)."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(text_of(part.get("text")) for part in value if isinstance(part, dict))
    return ""
