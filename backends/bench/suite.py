"""What is measured on which servers, and what it has to reach (DESIGN.md, "What it has to reach"). Only data."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from backends.bench import cells
from backends.bench.cells import SKEWED, Cell, Scale, skewed_mix
from backends.bench.in_process import python_share
from backends.bench.models import PAIR_SHAPE, Pair, pair
from backends.bench.prediction import Request, predicted_gain
from backends.bench.record import Record
from backends.bench.step_costs import ROWS, cost_of, row_name, step_costs, token_name
from backends.bench.workload import Lengths
from backends.engine.scheduler import Candidate, alike

PREDICTED = "predicted"
"""Not a contender: what an entry's `predict` says."""

OURS, RIVAL, INSIDE = "llmchat", "llama-server", "in process"

SCALES: Mapping[str, Scale] = {
    "T": Scale(),
    "S": Scale(decode=128, mixed_outputs=Lengths("uniform", 16, 96)),
    "M": Scale(decode=48, long=2048, mixed_outputs=Lengths("uniform", 8, 32), skewed_outputs=Lengths("fixed", 24)),
}

PLAIN = {"draft": "off"}
"""Nobody guesses tokens but where guessing is what is measured: the texts of random models repeat like no real ones."""

DRAFT_FLAGS = ("-md", "DRAFT", "--spec-type", "draft-simple", "--spec-draft-n-max", "4")
"""How llama-server is told to draft."""

NOISES = {"1.0": 0.0, "0.8": 0.04, "0.4": 0.16}
"""The noise by the share of drafted tokens that it lets pass, in drafts of 4. A noise of 0.11 let 0.55 pass."""


class Contender(msgspec.Struct, frozen=True):
    """Somebody who takes part: our engine behind HTTP, llama-server, or our engine in this process.

    `options` go over those of the setup, for llama-server as far as they have a counterpart; `flags` are llama-server's
    own.
    """

    name: str
    kind: Literal["ours", "rival", "inside"] = "ours"
    options: dict[str, Any] = {}
    flags: tuple[str, ...] = ()


class Comparison(msgspec.Struct, frozen=True):
    """One line of the table: `ours` / `other` in the metric `key`. Either may be a quotient, "a / b" of two contenders.

    `other` may be PREDICTED, which the entry reckons. `reach`: the bound; a number of tokens a second has to be above
    it, a time below it. None: for information.
    """

    title: str
    key: str
    ours: str
    other: str = ""
    reach: float | None = None
    higher_is_better: bool = True


class Entry(msgspec.Struct, frozen=True):
    """A cell, who is measured in it, how often, and what is made of it.

    `predict`: from a record and a model's name what PREDICTED is, sample by sample.
    """

    name: str
    cell: Cell
    contenders: tuple[str, ...]
    comparisons: tuple[Comparison, ...]
    repeats: int = 6
    predict: Callable[[Record, str], list[float]] | None = None


class Setup(msgspec.Struct, frozen=True):
    """Servers that run at the same time on one model, and what is measured on them."""

    name: str
    options: dict[str, Any]
    contenders: tuple[Contender, ...]
    entries: tuple[Entry, ...]
    pair: Pair | None = None


def seed_of(entry: str, number: int) -> int:
    """The seed of a sample: the same for all contenders."""
    return zlib.crc32(f"{entry} {number}".encode())


def _versus(
    name: str, title: str, cell: Cell, key: str, reach: float | None, higher: bool = True, repeats: int = 6
) -> Entry:
    return Entry(name, cell, (OURS, RIVAL), (Comparison(title, key, OURS, RIVAL, reach, higher),), repeats)


def serving() -> Setup:
    """Both servers as they are meant to run, 16 streams at most."""
    return Setup(
        "serving",
        PLAIN | {"max_streams": 16, "n_ctx": 12_288, "kv_cells": 16_384},
        (Contender(OURS), Contender(RIVAL, "rival")),
        (
            _versus("decode", "decode, one stream, tok/s", cells.decode, "tok/s", 0.97, repeats=10),
            *(
                _versus(f"streams-{n}", f"{n} streams of mixed lengths, tok/s", cells.aggregate(n), "tok/s", 1.0)
                for n in (4, 8, 16)
            ),
            _versus("shared", "8 at once, shared 512-token prefix, tok/s", cells.shared_prefix, "tok/s", 2.0),
            _versus("cold", "TTFT cold, 1k prompt, ms", cells.cold, "ttft ms", None, False),
            _versus("warm", "TTFT of a second turn, ms", cells.warm, "ttft ms", 1.0, False),
            _versus("typed", "TTFT with type-ahead, 200 words typed, ms", cells.typed, "ttft ms", 0.5, False),
            Entry(
                "long",
                cells.long_prompt,
                (OURS, RIVAL),
                (
                    Comparison("worst gap while a long prompt arrives, ms", "worst gap ms", OURS, RIVAL, 0.25, False),
                    Comparison("that prompt's TTFT, ms", "ttft ms", OURS, RIVAL, 1.25, False),
                ),
                3,
            ),
        ),
    )


def cancelling() -> Setup:
    """One slot, and somebody waiting for it."""
    return Setup(
        "cancelling",
        PLAIN | {"max_streams": 1, "n_ctx": 12_288, "kv_cells": 12_288},
        (Contender(OURS), Contender(RIVAL, "rival")),
        (
            _versus(
                "cancel-decode",
                "disconnect in decode -> first token of who waited, ms",
                cells.cancel(False),
                "ms",
                None,
                False,
            ),
            _versus(
                "cancel-prefill",
                "disconnect in prefill -> first token of who waited, ms",
                cells.cancel(True),
                "ms",
                1.0,
                False,
                3,
            ),
        ),
    )


def inside() -> Setup:
    """Our engine without HTTP, and what of its steps is Python's."""
    shares = tuple(
        Entry(
            f"python-{n}",
            python_share(n),
            (INSIDE,),
            (Comparison(f"Python's share of a step, {n} streams, %", "python %", INSIDE, "", None, False),),
            3,
        )
        for n in (1, 8, 16)
    )
    pairs = (
        ("decode-inside", "decode, one stream", cells.decode),
        ("streams-8-inside", "8 streams", cells.aggregate(8)),
    )
    compared = tuple(
        Entry(
            name,
            cell,
            (OURS, INSIDE),
            (Comparison(f"{title}, HTTP / in process, tok/s", "tok/s", OURS, INSIDE, None),),
            4,
        )
        for name, title, cell in pairs
    )
    return Setup(
        "inside",
        PLAIN | {"max_streams": 16, "n_ctx": 4_096, "kv_cells": 16_384},
        (Contender(OURS), Contender(INSIDE, "inside")),
        (*compared, *shares),
    )


def batching() -> Setup:
    """The three ways of batching, and what a step costs by its size."""
    modes = tuple(Contender(mode, options={"batching": mode}) for mode in ("continuous", "dynamic", "static"))
    quick = Contender("throughput", options={"objective": "throughput"})
    compared = Entry(
        "batching",
        cells.skewed(_STREAMS),
        ("continuous", "dynamic", "static", quick.name),
        (
            Comparison(
                "32 answers of skewed lengths, 8 slots: continuous / static, tok/s", "tok/s", *_CONTINUOUS_STATIC
            ),
            Comparison("that gain / what the cost of steps predicts", "tok/s", "continuous / static", PREDICTED, 0.9),
            Comparison("the same, dynamic / static, tok/s", "tok/s", "dynamic", "static"),
            Comparison("the same, objective throughput / ttft, tok/s", "tok/s", quick.name, "continuous"),
        ),
        4,
        _predicted_gains,
    )
    costs = Entry(
        "steps",
        step_costs,
        (INSIDE,),
        (
            *(Comparison(f"a step of {rows}, ms", row_name(rows), INSIDE, "", None, False) for rows in ROWS),
            Comparison("a prompt's token in an empty cache, ms", token_name(), INSIDE, "", None, False),
            Comparison("and behind 768 cells of others, ms", token_name(1024), INSIDE, "", None, False),
        ),
        3,
    )
    options = PLAIN | {"max_streams": 8, "n_ctx": 2_048, "kv_cells": 16_384}
    return Setup("batching", options, (*modes, quick, Contender(INSIDE, "inside")), (costs, compared))


_CONTINUOUS_STATIC = ("continuous", "static")
_STREAMS = 8
_FRAME = 20  # tokens of the template around a prompt of our models


def _predicted_gains(record: Record, model: str) -> list[float]:
    """Of continuous over static batching, for each sample; none while costs are missing."""
    step = cost_of(record.of(model, "steps", INSIDE))
    if step is None:
        return []
    gains = []
    for number in range(len(record.of(model, "batching", "static"))):
        mix = skewed_mix(SCALES.get(model, Scale()), seed_of("batching", number))
        asked = [
            Request(len(it.messages[-1].content.split()) + _FRAME, it.token_limit)
            for it in itertools.islice(mix.requests(), SKEWED * _STREAMS)
        ]
        line = [Candidate(key, sum(it)) for key, it in enumerate(asked)]
        batches = []
        while line:
            batch = alike(line, _STREAMS)
            batches.append([asked[key] for key in batch])
            line = [it for it in line if it.key not in batch]
        gains.append(predicted_gain(batches, _STREAMS, step))
    return gains


OBJECTIVES: dict[str, dict[str, Any]] = {
    f"ttft, {gap} ms": {"objective": "ttft", "max_gap_ms": float(gap)} for gap in (25, 50, 100, 200)
} | {"throughput": {"objective": "throughput"}}
"""What `objective` and `max_gap_ms` may be, from the smoothest answers to the quickest prompts."""

TRADE_OFF = "objectives"
"""The entry that tradeoff.py draws."""


def objectives() -> Setup:
    """What running answers and arriving prompts cost each other."""
    default, *others = ("ttft, 100 ms", "throughput")
    compared = tuple(
        Comparison(f"6 prompts beside 4 answers, {what}: {default} / {other}", key, default, other, None, False)
        for other in others
        for what, key in (("p95 gap of the answers, ms", "gap ms"), ("mean TTFT of the prompts, ms", "ttft ms"))
    )
    return Setup(
        TRADE_OFF,
        PLAIN | {"max_streams": 10, "n_ctx": 8_192, "kv_cells": 32_768},
        tuple(Contender(name, options=options) for name, options in OBJECTIVES.items()),
        (Entry(TRADE_OFF, cells.prompts_beside_answers, tuple(OBJECTIVES), compared, 3),),
    )


def speculating(acceptance: str, temperature: float) -> Setup:
    """Drafts that are right as often as `acceptance` says, on both servers, with and without."""
    ours, theirs = f"{OURS} + draft", f"{RIVAL} + draft"
    what = f"acceptance {acceptance}, {'greedy' if temperature == 0 else f'temperature {temperature:g}'}"
    entry = Entry(
        f"draft-{acceptance}-{temperature:g}",
        cells.sampled_decode(temperature),
        (OURS, ours, RIVAL, theirs),
        (
            Comparison(f"speculation, {what}: with / without, tok/s", "tok/s", ours, OURS, 0.95),
            Comparison(f"speculation, {what}: llama-server with / without, tok/s", "tok/s", theirs, RIVAL),
            Comparison(
                f"speculation, {what}: our gain / llama-server's",
                "tok/s",
                f"{ours} / {OURS}",
                f"{theirs} / {RIVAL}",
                1.0,
            ),
        ),
        4,
    )
    return Setup(
        f"draft-{acceptance}-{temperature:g}",
        {"max_streams": 2, "n_ctx": 2_048, "kv_cells": 4_096},
        (
            Contender(OURS, options=PLAIN),
            Contender(ours, options={"draft_model": "DRAFT"}),
            Contender(RIVAL, "rival"),
            Contender(theirs, "rival", flags=DRAFT_FLAGS),
        ),
        (entry,),
        pair(PAIR_SHAPE, 2, NOISES[acceptance]),
    )


def setups() -> list[Setup]:
    """Everything that is measured on a model."""
    return [serving(), cancelling(), inside(), batching(), objectives()]


def speculation_setups() -> list[Setup]:
    """What is measured on the pairs of target and draft."""
    return [speculating(acceptance, temperature) for acceptance in NOISES for temperature in (0.0, 0.8)]
