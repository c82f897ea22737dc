"""The table: what was measured, the ratio with its confidence interval, and whether it reaches what it has to. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from backends.bench.record import Record
from backends.bench.statistics import median, ratio
from backends.bench.suite import PREDICTED, Comparison, Entry, Setup
from backends.bench.tradeoff import trade_off

_HEAD = (
    "| | ours | against | ratio [95 %] | reach | |",
    "|---|---:|---:|---:|---:|---|",
)


def markdown(record: Record, plan: Sequence[tuple[str, Sequence[Setup]]]) -> str:
    """Everything in `record` that `plan`, models and their setups, knows of, as Markdown tables, one for each model."""
    parts = []
    for model, setups in plan:
        rows = list(_rows(record, model, setups))
        if rows:
            parts.append("\n".join([f"Model {model}:", "", *_HEAD, *rows]))
            parts += trade_off(record, model)
    return "\n\n".join(parts)


def _rows(record: Record, model: str, setups: Iterable[Setup]) -> Iterable[str]:
    for setup in setups:
        for entry in setup.entries:
            for comparison in entry.comparisons:
                if row := _row(record, model, entry, comparison):
                    yield row


def _row(record: Record, model: str, entry: Entry, it: Comparison) -> str | None:
    ours = record.values(model, entry.name, it.ours, it.key)
    if not ours:
        return None
    if it.other == PREDICTED:
        others = entry.predict(record, model) if entry.predict else []
    else:
        others = record.values(model, entry.name, it.other, it.key) if it.other else []
    cells = [f"{it.title} (n={len(ours)})", _number(median(ours))]
    if not others:
        return f"| {' | '.join([*cells, '', '', '', ''])} |"
    paired = min(len(ours), len(others))
    found = ratio(ours[:paired], others[:paired])
    sign = "≥" if it.higher_is_better else "≤"
    bound = "" if it.reach is None else f"{sign} {it.reach:g}"
    return f"| {' | '.join([*cells, _number(median(others)), str(found), bound, _verdict(it, found.value)])} |"


def _verdict(it: Comparison, value: float) -> str:
    if it.reach is None:
        return ""
    return "reached" if (value >= it.reach if it.higher_is_better else value <= it.reach) else "**missed**"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
