"""Billing questions to the demo model behind `llmchat serve`, several users at a time: is everybody within the budget?

Run as ``python -m tests.bench.billing``. The service is started as a person starts it, with the sample documents; each
user asks conversations of three questions, one answer after the other, earlier turns with their sources. The questions
are those of the demo's `practice.json` and `questions.json`. Prints TTFT and total against the budget, and what each
stage took (a stage that ran more than once in a request is summed).
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import msgspec

from backends.backend import ChatRequest, Message
from backends.config import Budgets
from backends.demo.handbook import HERE
from backends.events import Citation, Done, Error, Event, Meta, Status, Token
from backends.providers.native import Native
from backends.telemetry.spread import percentile
from backends.telemetry.stages import STAGES
from tests.bench.demo import GREEDY, service


class Asked(msgspec.Struct, frozen=True):
    """One answer as its user met it: milliseconds since the question went out, and of each stage."""

    ttft: float
    total: float
    tokens: int
    prompt_tokens: int
    cited: bool
    stages: dict[str, float]


def questions() -> list[str]:
    """All questions of both files that have an answer."""
    entries = [e for name in ("practice", "questions") for e in json.loads((HERE / f"{name}.json").read_text("utf-8"))]
    return [entry["question"] for entry in entries if entry["section"] is not None]


async def ask(client: Native, messages: tuple[Message, ...]) -> tuple[Asked, Message, Message]:
    """The answer to the last of `messages`, and that turn and its answer as they go into the next request."""
    began = time.perf_counter()
    events: list[tuple[float, Event]] = []
    async with aclosing(client.stream(ChatRequest(messages, sampling=GREEDY))) as stream:
        async for event in stream:
            events.append(((time.perf_counter() - began) * 1000.0, event))
    last_at, last = events[-1]
    if not isinstance(last, Done):
        raise RuntimeError(last.message if isinstance(last, Error) else "the stream just ended")
    texts = [(at, event) for at, event in events if isinstance(event, Token)]
    metas = [event for _, event in events if isinstance(event, Meta)]
    stages: defaultdict[str, float] = defaultdict(float)
    for span in dict.fromkeys(span for meta in metas for span in meta.spans):
        stages[span.stage] += span.duration
    sources = next((event.passages for _, event in events if isinstance(event, Status) and event.passages), ())
    asked = Asked(
        next(at for at, event in texts if event.text),
        last_at,
        last.total_tokens,
        max(meta.prompt_tokens or 0 for meta in metas),
        any(isinstance(event, Citation) for _, event in events),
        dict(stages),
    )
    answer = "".join(event.text for _, event in texts)
    return asked, msgspec.structs.replace(messages[-1], sources=sources), Message("assistant", answer)


async def user(client: Native, waiting: Iterator[str], results: list[Asked]) -> None:
    """Conversations of three questions until there are no more."""
    while turn := list(itertools.islice(waiting, 3)):
        messages: tuple[Message, ...] = ()
        for question in turn:
            asked, now, answer = await ask(client, (*messages, Message("user", question)))
            messages = (*messages, now, answer)
            results.append(asked)


async def measure(users: int, count: int) -> list[Asked]:
    """`count` answers to `users` at a time, after a few that do not count."""
    results: list[Asked] = []
    with tempfile.TemporaryDirectory() as folder:
        async with service(Path(folder)) as client:
            await user(client, iter(questions()[:6]), [])
            waiting = itertools.islice(itertools.cycle(questions()), count)
            async with asyncio.TaskGroup() as group:
                for _ in range(users):
                    group.create_task(user(client, waiting, results))
    return results


def table(users: int, results: list[Asked]) -> str:
    """The budget table, in Markdown."""
    budget = Budgets().chat
    rows = [("TTFT", [each.ttft for each in results], f"{budget.ttft_ms:.0f}")]
    rows += [("total", [each.total for each in results], f"{budget.total_ms:.0f}")]
    for stage in STAGES:
        if values := [each.stages[stage] for each in results if stage in each.stages]:
            rows.append((stage, values, ""))
    lines = ["| ms | answers | P50 | P95 | most | budget, P95 |", "| --- | ---: | ---: | ---: | ---: | ---: |"]
    for name, values, allowed in rows:
        found = " | ".join(f"{value:.1f}" for value in (percentile(values, 50), percentile(values, 95), max(values)))
        lines.append(f"| {name} | {len(values)} | {found} | {allowed} |")
    within = sum(each.ttft <= budget.ttft_ms and each.total <= budget.total_ms for each in results)
    tokens = sum(each.tokens for each in results) / len(results)
    prompt = sum(each.prompt_tokens for each in results) / len(results)
    cited = sum(each.cited for each in results)
    said = f"{users} users: {within} of {len(results)} answers within the budget; prompts of {prompt:.0f} tokens"
    return "\n".join([*lines, "", f"{said}, answers of {tokens:.0f}, {cited} with a citation."])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=4)
    parser.add_argument("--count", type=int, default=200)
    args = parser.parse_args()
    print(table(args.users, asyncio.run(measure(args.users, args.count))))


if __name__ == "__main__":
    main()
