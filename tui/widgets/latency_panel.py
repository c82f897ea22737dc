"""The latency panel: where the time of the newest turn went, growing while it happens.

`panel_lines`, `strip_lines` and `numbers_line` are pure; `LatencyPanel` draws one of them and is repainted by its
screen, at most a few times a second while an answer runs and not at all otherwise.
"""

from __future__ import annotations

from textwrap import shorten, wrap
from typing import Literal, Self

from rich.text import Text
from textual.reactive import reactive

from backends.config import Budget
from backends.telemetry.explain import duration
from backends.telemetry.speed import speed_now
from backends.telemetry.stages import Stage
from backends.telemetry.summary import Summary, account, summarize
from backends.telemetry.timeline import STAGE_OF, Outcome, Timeline
from tui.widgets import waterfall
from tui.widgets.sparkline import sparkline
from tui.widgets.text_lines import TextLines
from tui.widgets.usage_lines import cached_share, dollars, percent, usage_lines
from tui.widgets.waterfall import QUIET, TRACK
from tui.widgets.wording import OUTCOME_WORDS, Tone, doing

TONE_COLOURS: dict[Tone, str] = {
    "quiet": QUIET,
    "busy": "#7aa2f7",
    "good": "#8fc45c",
    "warn": "#e0af68",
    "bad": "#f0708a",
}

_STRIP_GAPS = 24
"""Cells for the gaps at the end of the line of numbers, where it leaves room for a third of that."""

Shape = Literal["panel", "strip", "numbers", "off"]


def panel_lines(
    timeline: Timeline, now: float, width: int, budget: Budget, axis: float | None = None, *, headed: bool = True
) -> list[Text]:
    """The full panel, `width` columns wide, for a turn as it stands `now` ms after Enter.

    `axis`: where its time axis ends, in ms; None: where it suits this turn. The same below. `headed`: with a head, and
    what the turn waits for.
    """
    now = timeline.end_ms if timeline.end_ms is not None else now
    summary = summarize(timeline)
    lines = [_heading(timeline, width), _doing(timeline, width)] if headed else []
    lines += _gauges(timeline, summary, now, width, budget)
    lines += [*_gaps(timeline, width), Text()]
    lines += _waterfall(timeline, now, width, axis or _axis(timeline, now, budget))
    if usage := usage_lines(timeline, summary, width):
        lines += [Text(), *usage]
    return lines


def idle_lines(width: int, budget: Budget) -> list[Text]:
    """The full panel before the first question."""
    about = (
        "Each stage of an answer is drawn here while it happens: retrieval, queue, prefill, first token, generation."
    )
    lines = [_two_sided(Text("Latency", "bold"), Text("idle", QUIET), width), Text()]
    lines += [Text(line, QUIET) for line in wrap(about, max(10, width))]
    lines += [Text(), Text("Budget for a chat answer", QUIET)]
    lines.append(Text(f"{'TTFT':<7}{duration(budget.ttft_ms):>8}", QUIET))
    lines.append(Text(f"{'total':<7}{duration(budget.total_ms):>8}", QUIET))
    return lines


def strip_lines(timeline: Timeline, now: float, width: int, budget: Budget, axis: float | None = None) -> list[Text]:
    """Two lines for narrow terminals: the turn as one bar, and the numbers."""
    end = timeline.end_ms if timeline.end_ms is not None else now
    bar = waterfall.stacked(timeline.spans(end), end, axis or _axis(timeline, end, budget), width)
    numbers = numbers_line(timeline, now, width, budget)
    room = min(_STRIP_GAPS, width - numbers.cell_len - 3)
    if room >= _STRIP_GAPS // 3 and (spread := timeline.gaps.spread()) is not None:
        numbers = _two_sided(numbers, sparkline(timeline.gaps.recent(spread.count), spread.p50, room), width)
    return [bar, numbers]


def numbers_line(timeline: Timeline, now: float, width: int, budget: Budget) -> Text:
    """One line: TTFT, TPOT, tok/s, total, tokens in and out; what does not fit is left out from the end."""
    now = timeline.end_ms if timeline.end_ms is not None else now
    summary = summarize(timeline)
    ttft, tone = _against(summary.outcome, summary.ttft, now, budget.ttft_ms)
    parts = [Text.assemble(("TTFT ", QUIET), (ttft, tone))]
    if summary.tokens_per_second is not None and summary.tpot is not None:
        parts.append(Text(f"{summary.tokens_per_second:,.0f} tok/s"))
    total, tone = _against(summary.outcome, summary.total, now, budget.total_ms)
    parts.append(Text.assemble(("total ", QUIET), (total, tone)))
    if (saved := summary.saved) is not None:
        price = f" · {dollars(saved.cost)}" if saved.cost is not None else ""
        parts.append(Text.assemble(("saved ≤ ", QUIET), f"{saved.tokens:,}", (f" tokens{price}", QUIET)))
    if summary.tpot is not None:
        parts.append(Text.assemble(("TPOT ", QUIET), _milliseconds(summary.tpot)))
    if summary.prompt_tokens is not None:
        parts.append(Text.assemble(("in ", QUIET), f"{summary.prompt_tokens:,}", (cached_share(summary), QUIET)))
    if summary.tokens:
        parts.append(Text.assemble(("out ", QUIET), f"{summary.tokens:,}"))
    if summary.draft_tokens:
        kept = percent(summary.accepted_tokens or 0, summary.draft_tokens)
        parts.append(Text.assemble(("drafts kept ", QUIET), kept))
    if summary.cost is not None:
        parts.append(Text.assemble(("cost ", QUIET), dollars(summary.cost)))
    line = Text()
    for part in parts:
        if line.cell_len + part.cell_len + 3 > width and line:
            break
        if line:
            line.append(" · ", TRACK)
        line.append_text(part)
    line.truncate(width)
    return line


def _heading(timeline: Timeline, width: int) -> Text:
    word, tone = OUTCOME_WORDS[timeline.outcome]
    return _two_sided(Text("Latency", "bold"), Text(word, TONE_COLOURS[tone]), width)


def _doing(timeline: Timeline, width: int) -> Text:
    """What the turn waits for, or what there is to say of its generation; in fewer words where these are too many."""
    words = doing(timeline)
    if len(words) > width:
        words = shorten(doing(timeline, brief=True), width, placeholder=" …")
    return Text(words, TONE_COLOURS["busy" if timeline.outcome == "running" else "warn"], no_wrap=True)


def _gauges(timeline: Timeline, summary: Summary, now: float, width: int, budget: Budget) -> list[Text]:
    speed = Text("TPOT".ljust(7))
    if summary.tpot is not None and summary.tokens_per_second is not None:
        speed.append(_milliseconds(summary.tpot).rjust(8), "bold")
        speed.append(f"  {_speed(summary.tokens_per_second)} tok/s")
        late = speed_now(timeline, now)
        if late is not None and len(beside := f" · now {_speed(late)}") <= width - speed.cell_len:
            speed.append(beside, QUIET)
    else:
        speed.append("–".rjust(8), QUIET)
    ttft = _gauge("TTFT", summary.outcome, summary.ttft, now, budget.ttft_ms, width)
    total = _gauge("Total", summary.outcome, summary.total, now, budget.total_ms, width)
    return [ttft, speed, total]


def _gaps(timeline: Timeline, width: int) -> list[Text]:
    """Two rows: the gaps between the pieces of the answer, and how they lie."""
    spread = timeline.gaps.spread()
    if spread is None:
        return [Text.assemble("Gaps".ljust(7), ("–".rjust(8), QUIET)), Text()]
    bars = sparkline(timeline.gaps.recent(spread.count), spread.p50, width - 8)
    unit, digits = ("ms", 1 if spread.highest < 10 else 0)
    if spread.highest >= 1_000:
        unit, digits = "s", 2 if spread.highest < 100_000 else 0
    words = Text()
    for name, value in (("P50 ", spread.p50), (" · P95 ", spread.p95), (" · max ", spread.highest)):
        words.append(name, QUIET)
        words.append(f"{value / (1_000 if unit == 's' else 1):.{digits}f}")
    words.append(f" {unit}", QUIET)
    words.pad_left(max(0, min(8, width - len(words))))
    return [Text.assemble("Gaps".ljust(8), bars), words]


def _gauge(name: str, outcome: Outcome, value: float | None, now: float, limit: float, width: int) -> Text:
    """A value against its budget; bold when it is final."""
    words, tone = _against(outcome, value, now, limit)
    line = Text(name.ljust(7))
    line.append(words.rjust(8), f"bold {tone}" if value is not None else tone)
    shown = value if value is not None else (now if outcome == "running" else 0.0)
    limit_text = f" {duration(limit)}"
    cells = width - line.cell_len - len(limit_text) - 2
    if cells >= 4:
        filled = min(cells, round(cells * shown / limit))
        line.append("  " + "━" * filled, tone)
        line.append("─" * (cells - filled), TRACK)
        line.append(limit_text, QUIET)
    return line


def _axis(timeline: Timeline, now: float, budget: Budget) -> float:
    return waterfall.axis_end(now, budget.ttft_ms) if timeline.outcome == "running" else max(now, 1.0)


def _waterfall(timeline: Timeline, now: float, width: int, end: float) -> list[Text]:
    spans = timeline.spans(now)
    current = _current_stage(timeline) if timeline.outcome == "running" else None
    rows = [
        waterfall.stage_row(stage, own, end, width, current=now if stage == current else None)
        for stage, own in waterfall.by_stage(spans)
    ]
    until = timeline.first_token_ms if timeline.first_token_ms is not None else now
    unattributed = account(spans, until).unattributed
    if unattributed >= 0.5:
        rows.append(waterfall.gap_row(spans, until, unattributed, end, width))
    rows.append(waterfall.axis_row(end, timeline.first_token_ms, width))
    if (legend := waterfall.legend_row(spans)) is not None:
        rows.append(legend)
    return rows


def _current_stage(timeline: Timeline) -> Stage | None:
    if timeline.first_token_ms is not None:
        return "total_generation"
    return STAGE_OF[timeline.status.status] if timeline.status else None


def _against(outcome: Outcome, value: float | None, now: float, limit: float) -> tuple[str, str]:
    """A time, as it stands while it is not final, and its colour by its budget, which a failure does not keep; a dash
    when it never came."""
    if value is None and outcome != "running":
        return "–", QUIET
    shown = now if value is None else value
    if outcome == "failed":
        return duration(shown), QUIET
    return duration(shown), TONE_COLOURS["good" if shown <= limit else "bad"]


def _speed(tokens: float) -> str:
    """Tokens a second: one decimal where it matters."""
    return f"{tokens:,.0f}" if tokens >= 10 else f"{tokens:.1f}"


def _milliseconds(ms: float) -> str:
    return f"{ms:.1f} ms" if ms < 100 else duration(ms)


def _two_sided(left: Text, right: Text, width: int) -> Text:
    return Text.assemble(left, " " * max(1, width - left.cell_len - right.cell_len), right)


class LatencyPanel(TextLines):
    """Shows one timeline in the shape that fits; `shape` is set by the screen, `show` by whoever has news."""

    shape: reactive[Shape] = reactive[Shape]("panel")

    def __init__(self, budget: Budget, id: str | None = None, *, headed: bool = True) -> None:
        """`headed`: as for `panel_lines`."""
        super().__init__(id=id)
        self._budget = budget
        self._headed = headed
        self._timeline: Timeline | None = None
        self._now = 0.0
        self._axis: float | None = None

    def take(self, shape: Shape, width: int | None = None) -> Self:
        """Take the room that the layout has for it; `width` in columns, None: as wide as what is around it."""
        self.shape, self.display = shape, shape != "off"
        if width is not None:
            self.styles.width = width
        return self

    def watch_shape(self, shape: Shape) -> None:
        """Textual's hook. The height is fixed by the shape, so that news never cost a layout."""
        self.styles.height = {"strip": 2, "numbers": 1}.get(shape, "1fr")
        self.forget()

    def show(self, timeline: Timeline | None, now: float = 0.0, axis: float | None = None) -> None:
        """Draw `timeline` as it stands `now` ms after Enter; None before the first question. `axis`: `panel_lines`."""
        self._timeline, self._now, self._axis = timeline, now, axis
        self.show_news()

    def lines(self, width: int) -> list[Text]:
        """What its shape has room for."""
        timeline, now, axis, budget = self._timeline, self._now, self._axis, self._budget
        if self.shape == "off":
            return []
        if self.shape == "panel":
            if timeline is None:
                return idle_lines(width, budget)
            return panel_lines(timeline, now, width, budget, axis, headed=self._headed)
        if timeline is None:
            return [Text("latency: every stage is drawn here while an answer comes", QUIET)]
        if self.shape == "strip":
            return strip_lines(timeline, now, width, budget, axis)
        return [numbers_line(timeline, now, width, budget)]
