"""What `llmchat ask` prints: the answer as text, or every event as a JSON line."""

from __future__ import annotations

import shutil
from typing import BinaryIO, Protocol, TextIO

import msgspec

from backends import events
from backends.errors import Code
from backends.events import Citation, Done, Error, Event, FinishReason, Reasoning, Status, Token, is_terminal
from backends.telemetry.explain import duration
from backends.telemetry.summary import account, summarize
from backends.telemetry.timeline import Outcome, Timeline
from tui.markdown.sanitize import hold, scrub
from tui.widgets.plain import plain
from tui.widgets.wording import STAGE_LABELS, describe

_ERASE = "\r\x1b[K"

_ENDINGS: dict[Outcome, str] = {
    "truncated": "the answer was truncated at its token limit (--max-tokens)",
    "interrupted": "the answer was interrupted: the stream ended too early",
}


class Output(Protocol):
    """Where an answer goes. Both methods raise BrokenPipeError when nobody reads any more."""

    def show(self, event: Event) -> None:
        """Print what `event` brings."""

    def end(self, timeline: Timeline) -> None:
        """The stream is over, in whichever way; `timeline` has ended."""


class JsonOutput:
    """Each event as one line, ``{"event": "token", "text": "..."}``; the last one is a `done` or an `error`."""

    def __init__(self, stdout: BinaryIO, backend: str = "") -> None:
        """`backend`: who answers, where several do; it is in each line then."""
        self._stdout = stdout
        self._tag = {"backend": backend} if backend else {}
        self._ended = False

    def show(self, event: Event) -> None:
        """Print `event`; nothing after the terminal one."""
        if self._ended:
            return
        self._ended = is_terminal(event)
        line = {**self._tag, "event": events.name(event), **msgspec.to_builtins(event)}
        if isinstance(event, Done):
            line["finishReason"] = event.finish_reason  # the wire leaves defaults out; a script wants to see it
        self._stdout.write(msgspec.json.encode(line) + b"\n")
        self._stdout.flush()

    def end(self, timeline: Timeline) -> None:
        """Print the ending that no event told: a cancel, a stream that just stopped, or a defect."""
        if timeline.outcome == "failed":
            self.show(Error(Code.INTERNAL, "a defect of llmchat; its log file has the details"))
        reason: FinishReason = "cancelled" if timeline.outcome == "cancelled" else "interrupted"
        latency = (timeline.end_ms or 0.0) - timeline.call_ms
        self.show(Done(timeline.tokens, round(latency, 1), reason))


class TextOutput:
    """The text as it comes, on `stdout`; while waiting a line on `stderr`, if that is a terminal."""

    def __init__(self, stdout: TextIO, stderr: TextIO, sources: bool, name: str = "") -> None:
        """`sources`: list the citations after the answer even where `stdout` is not a terminal. `name`: who answers,
        where several do."""
        self._complaint = f"llmchat: {name}: " if name else "llmchat: "
        self._stdout = stdout
        self._stderr = stderr
        self._safe = stdout.isatty()
        self._progress = stderr.isatty()
        self._list_citations = sources or self._safe
        self._citations: dict[str, Citation] = {}
        self._waiting = False
        self._last = ""
        self._held = ""

    def show(self, event: Event) -> None:
        """Print text at once; keep citations for the end; errors go to `stderr`."""
        match event:
            case Token():
                self._write(self._scrubbed(event.text) if self._safe else event.text)
            case Status():
                self._wait_for(describe(event))
            case Reasoning():
                self._wait_for("thinking")
            case Citation():
                self._citations.setdefault(event.id, event)
            case Error():
                self._complain(event.message)

    def end(self, timeline: Timeline) -> None:
        """Finish the line, list the citations, and say how the answer ended where that is not obvious."""
        self._finish_line()
        if self._list_citations and self._citations:
            footnotes = [f"[{plain(c.id)}] {_place(c)}" for c in self._citations.values()]
            self._stdout.write("\n" + "\n".join(footnotes) + "\n")
            self._stdout.flush()
        if timeline.error is None and (words := timeline.detail or _ENDINGS.get(timeline.outcome)):
            self._complain(words)

    def _scrubbed(self, text: str) -> str:
        ready, self._held = hold(self._held + text)
        return scrub(ready, self._last)

    def _write(self, text: str) -> None:
        if not text:
            return
        self._erase()
        self._stdout.write(text)
        self._stdout.flush()
        self._last = text[-1]

    def _finish_line(self) -> None:
        held, self._held = self._held, ""
        self._write(scrub(held, self._last))
        self._erase()
        if self._last not in ("", "\n"):
            self._write("\n")

    def _wait_for(self, what: str) -> None:
        if self._progress and not self._last:
            columns = shutil.get_terminal_size().columns
            self._stderr.write(f"{_ERASE}{what[: columns - 1]}")
            self._stderr.flush()
            self._waiting = True

    def _erase(self) -> None:
        if self._waiting:
            self._stderr.write(_ERASE)
            self._stderr.flush()
            self._waiting = False

    def _complain(self, message: str) -> None:
        self._finish_line()
        self._stderr.write(f"{self._complaint}{plain(message)}\n")
        self._stderr.flush()


def statistics(timeline: Timeline) -> str:
    """The latencies of `timeline`, where its time to the first token went, and which of several backends answered."""
    numbers = summarize(timeline)
    parts = [f"TTFT {duration(numbers.ttft)}" if numbers.ttft is not None else "no token"]
    if numbers.tpot is not None and numbers.tokens_per_second is not None:
        parts += [f"TPOT {numbers.tpot:.1f} ms", f"{numbers.tokens_per_second:.0f} tok/s"]
    if numbers.total is not None:
        parts.append(f"total {duration(numbers.total)}")
    parts.append(f"{numbers.tokens:,} tokens")
    if numbers.prompt_tokens is not None:
        cached = "" if numbers.cached_tokens is None else f" ({numbers.cached_tokens:,} cached)"
        parts.append(f"prompt {numbers.prompt_tokens:,}{cached}")
    if numbers.draft_tokens:
        parts.append(f"draft accepted {100 * (numbers.accepted_tokens or 0) / numbers.draft_tokens:.0f} %")
    if numbers.cost is not None:
        parts.append(f"cost ${numbers.cost:.5f}")
    parts.append(numbers.outcome)
    lines = [" · ".join(parts)]
    if numbers.ttft is not None:
        bill = account(timeline.spans(numbers.ttft), numbers.ttft)
        stages = [f"{STAGE_LABELS[stage]} {duration(ms)}" for stage, ms in bill.parts]
        lines.append("TTFT = " + " + ".join([*stages, f"unattributed {duration(bill.unattributed)}"]))
    if timeline.usage.route:
        lines.append(f"route: {plain(timeline.usage.route)}")
    return "\n".join(lines)


def _place(citation: Citation) -> str:
    """Document, title and place of a citation, on one line."""
    parts = [citation.source, citation.title, citation.locator]
    return ", ".join(dict.fromkeys(plain(part) for part in parts if part))
