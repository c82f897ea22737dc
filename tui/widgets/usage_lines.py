"""What a turn used, as rows: tokens, drafts, KV cache, GPU memory, cost, the way there. Pure.

A row is worded by the room there is: where the full wording is wider than the panel, a shorter one stands for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import floor, log10
from textwrap import wrap

from rich.text import Text

from backends.events import Meta
from backends.telemetry.summary import Summary
from backends.telemetry.timeline import Timeline
from tui.widgets.plain import plain
from tui.widgets.waterfall import QUIET

NAME_WIDTH = 8

Wording = tuple[str, str]
"""What is told, and what is told beside it."""


def usage_lines(timeline: Timeline, summary: Summary, width: int) -> list[Text]:
    """The rows, each `width` columns wide at most; none where nothing is known yet."""
    usage = timeline.usage
    lines = [_fitting(name, wordings, width) for name, wordings in _rows(timeline, summary)]
    if usage.connection:
        lines += _in_lines("via", plain(usage.connection).replace(", ", " · "), width)
    if usage.route:
        lines += _in_lines("route", plain(usage.route), width)
    return lines


def _rows(timeline: Timeline, summary: Summary) -> Iterator[tuple[str, list[Wording]]]:
    """Names and wordings, the longest wording first."""
    if (prompt := summary.prompt_tokens) is not None:
        share = cached_share(summary)
        yield "in", [(f"{prompt:,} tokens", share), (f"{prompt:,}", share)]
    if ahead := timeline.usage.warmed_tokens:
        yield "", [(f"{ahead:,} tokens", " · read ahead"), (f"{ahead:,}", " · read ahead")]
    if summary.tokens:
        yield "out", [(f"{summary.tokens:,} tokens", "")]
    yield from _drafts(summary)
    if timeline.queue_position:
        yield "queue", [(f"came at place {timeline.queue_position}", "")]
    yield from _memory(timeline.usage)
    if summary.cost is not None:
        yield "cost", [(dollars(summary.cost), "")]
    if (saved := summary.saved) is not None:
        price = "" if saved.cost is None else f" · {dollars(saved.cost)}"
        tokens = f"{saved.tokens:,} tokens"
        yield "saved", [(f"at most {tokens}", price), (f"≤ {tokens}", price), (f"≤ {tokens}", "")]


def _drafts(summary: Summary) -> Iterator[tuple[str, list[Wording]]]:
    if not summary.draft_tokens:
        return
    kept, share = summary.accepted_tokens or 0, percent(summary.accepted_tokens or 0, summary.draft_tokens)
    yield "drafts", [(f"{kept:,} of {summary.draft_tokens:,} kept", f" · {share}"), (f"{share} kept", "")]
    if 0 < kept < summary.tokens:
        step, fewer = f"{summary.tokens / (summary.tokens - kept):,.1f}", f" · {kept:,} steps fewer"
        yield "", [(f"{step} tokens a step", fewer), (f"{step} a step", fewer), (f"{step} tokens a step", "")]


def _memory(usage: Meta) -> Iterator[tuple[str, list[Wording]]]:
    if usage.kv_used is not None and usage.kv_cells:
        size = f" · {usage.kv_used * usage.kv_bytes_per_token / 2**20:,.1f} MiB" if usage.kv_bytes_per_token else ""
        yield "KV", [(f"{usage.kv_used:,} of {usage.kv_cells:,}", beside) for beside in (size, "")]
    if usage.gpu_used is not None and usage.gpu_total:
        yield "GPU", [(f"{usage.gpu_used / 2**30:.1f} of {usage.gpu_total / 2**30:.1f} GiB", "")]


def _fitting(name: str, wordings: list[Wording], width: int) -> Text:
    """The first of `wordings` that fits, else the last."""
    room = width - NAME_WIDTH
    value, beside = next((pair for pair in wordings if len(pair[0] + pair[1]) <= room), wordings[-1])
    return Text.assemble((name.ljust(NAME_WIDTH), QUIET), value, (beside, QUIET))


def _in_lines(name: str, words: str, width: int) -> list[Text]:
    """`words` in as many lines as it takes."""
    lines = wrap(words, max(10, width - NAME_WIDTH))
    return [Text.assemble(("" if at else name).ljust(NAME_WIDTH), line) for at, line in enumerate(lines)]


def cached_share(summary: Summary) -> str:
    """How much of the prompt the cache held: `` · 75 % cached``; nothing where that is not told."""
    if summary.cached_tokens is None or not summary.prompt_tokens:
        return ""
    return f" · {percent(summary.cached_tokens, summary.prompt_tokens)} cached"


def percent(part: int, whole: int) -> str:
    """A share without decimals: ``75 %``."""
    return f"{100 * part / whole:.0f} %"


def dollars(amount: float) -> str:
    """An amount with two digits that say something: ``$1.20``, ``$0.0031``."""
    digits = 2 if amount >= 0.1 or amount <= 0 else min(9, 1 - floor(log10(amount)))
    return f"${amount:,.{digits}f}"
