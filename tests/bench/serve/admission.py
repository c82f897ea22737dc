"""Many long prompts at once against a KV cache for few of them: ``python -m tests.bench.serve.admission``.

Each client has a prompt that nobody else has and asks `llmchat serve`, half of them in the native form and half in
OpenAI's; who is refused comes back after the time that the refusal says, until it is answered. Printed: how requests
ended, what those who waited were told and what came of it, cells and memory; and what is left when all are gone.
Anything improper is listed, and makes the exit code 1.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import string
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from httpx_sse import EventSource

from backends.bench.models import SHAPES, Shape, make
from tests.bench.serve.processes import serving, streams_left, use_of

TINY = Shape("A", 32, 1, 1, 1, 64, 2_048)
"""Small enough that a hundred prompts of 8k tokens take a few minutes on two busy cores."""

_REFUSALS = (429, 503)
_PATIENCE = 50  # tries of one client


@dataclass
class Seen:
    """What the clients saw together. `waits`: expected and real seconds in line, of those who were told."""

    ends: Counter[str] = field(default_factory=Counter)
    tries: Counter[int] = field(default_factory=Counter)
    retry_after: list[float] = field(default_factory=list)
    positions: Counter[int] = field(default_factory=Counter)
    waits: list[tuple[float, float]] = field(default_factory=list)
    kv_used: int = 0
    kv_cells: int = 0
    improper: list[str] = field(default_factory=list)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.serve.admission")
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--prompt", type=int, default=8_000, help="tokens")
    parser.add_argument("--answer", type=int, default=64, help="tokens")
    parser.add_argument("--contexts", type=int, default=8, help="of the size of prompt and answer that the cache holds")
    parser.add_argument("--shape", choices=("A", *SHAPES), default="A")
    options = parser.parse_args()
    n_ctx = -(-(options.prompt + options.answer + 64) // 256) * 256
    cells = options.contexts * n_ctx
    shape = SHAPES.get(options.shape, TINY)
    with tempfile.TemporaryDirectory() as folder:
        model = make(shape, Path(folder))
        config = (
            f'backend = "a"\n[backends.a]\ntype = "local"\nmodel = "{model}"\nn_ctx = {n_ctx}\nkv_cells = {cells}\n'
            f"max_streams = {2 * options.contexts}\nmax_queue = 64\nqueue_timeout = {{ chat = 3600.0 }}\n"
        )
        with serving(Path(folder), config) as (port, pid):
            return asyncio.run(_measure(port, pid, options, n_ctx))


async def _measure(port: int, pid: int, options: argparse.Namespace, n_ctx: int) -> int:
    seen = Seen()
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=None, limits=limits) as http:
        lone = await _lone(http)
        before, began = use_of(pid), time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for number in range(options.clients):
                ask = _ask_native if number % 2 else _ask_openai
                prompt = _prompt(number, options.prompt)
                group.create_task(_client(lambda ask=ask, prompt=prompt: ask(http, prompt, options.answer, seen), seen))
            group.create_task(_impossible(http, _prompt(-1, 2 * n_ctx), seen))
        took = time.perf_counter() - began
        if (after := await _lone(http)) != lone:
            seen.improper.append(f"a lone request fills {after} cells afterwards, {lone} before")
    left = streams_left(port)
    if any(left.values()):
        seen.improper.append(f"streams left: {left}")
    if seen.kv_used > seen.kv_cells:
        seen.improper.append("more cells in use than there are")
    _report(seen, took, options, n_ctx)
    print(f"  memory: {before.mib:.0f} MiB before, {use_of(pid).mib:.0f} after; a lone request then: {after} cells")
    return 1 if seen.improper else 0


async def _client(ask: Callable[[], Awaitable[float | None]], seen: Seen) -> None:
    """Asks until it is answered."""
    for tries in range(1, _PATIENCE + 1):
        pause = await ask()
        if pause is None:
            seen.tries[tries] += 1
            return
        seen.retry_after.append(pause)
        await asyncio.sleep(pause)
    seen.improper.append(f"not answered in {_PATIENCE} tries")


async def _ask_openai(http: httpx.AsyncClient, prompt: str, answer: int, seen: Seen) -> float | None:
    """One request in OpenAI's form. Returns the seconds after which to come back, or None if there is no need to."""
    body = _body(prompt, answer) | {"model": "a", "stream": True}
    async with http.stream("POST", "/v1/chat/completions", json=body) as response:
        if response.status_code in _REFUSALS:
            await response.aread()
            seen.ends[f"refused: {response.status_code}"] += 1
            return float(response.headers["retry-after"])
        if response.status_code != 200:
            seen.improper.append(f"{response.status_code}: {(await response.aread())[:200]!r}")
            return None
        last = [event.data async for event in EventSource(response).aiter_sse() if event.data][-1]
    _count(last == "[DONE]", f"a stream ended with {last[:200]}", seen)
    return None


async def _ask_native(http: httpx.AsyncClient, prompt: str, answer: int, seen: Seen) -> float | None:
    """The same in the native form, which says how long one will wait."""
    told: list[tuple[float, float]] = []  # when, and how long it would take
    name, data = "nothing", dict[str, Any]()
    async with http.stream("POST", "/v1/chat", json=_body(prompt, answer)) as response:
        async for event in EventSource(response).aiter_sse():
            if not event.data:  # a ping
                continue
            name, data = event.event, json.loads(event.data)
            if name == "meta" and data.get("kvUsed"):
                seen.kv_used = max(seen.kv_used, data["kvUsed"])
                seen.kv_cells = data["kvCells"]
            if name != "status":
                continue
            if data["status"] == "queued" and data.get("position"):
                seen.positions[data["position"]] += 1
                if data.get("expectedMs") is not None:
                    told.append((time.perf_counter(), data["expectedMs"] / 1000))
            elif data["status"] == "prefilling":
                seen.waits += [(expected, time.perf_counter() - at) for at, expected in told]
                told = []
    if name == "error" and data.get("retryable") and data.get("retryAfter"):
        seen.ends["refused: error event"] += 1
        return float(data["retryAfter"])
    _count(name == "done" and data["totalTokens"] == answer, f"a stream ended with {name} {data}", seen)
    return None


def _count(answered: bool, otherwise: str, seen: Seen) -> None:
    if answered:
        seen.ends["answered"] += 1
    else:
        seen.improper.append(otherwise)


async def _impossible(http: httpx.AsyncClient, prompt: str, seen: Seen) -> None:
    """More than any context holds, while the line is full: refused at once, with the numbers."""
    response = await http.post("/v1/chat/completions", json=_body(prompt, 8) | {"model": "a"})
    seen.ends[f"impossible: {response.status_code}"] += 1
    if response.status_code != 400 or "but the context holds" not in response.text:
        seen.improper.append(f"an impossible request got {response.status_code}: {response.text[:200]}")


async def _lone(http: httpx.AsyncClient) -> int:
    """The most cells that a small request sees filled, with nobody else there."""
    seen = Seen()
    await _ask_native(http, "aa bb", 4, seen)
    return seen.kv_used


def _body(prompt: str, answer: int) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": prompt}], "max_tokens": answer}


def _prompt(number: int, tokens: int) -> str:
    """Words of one token each, others for every number."""
    dice = random.Random(number)
    return " ".join("".join(dice.choices(string.ascii_lowercase, k=2)) for _ in range(tokens))


def _report(seen: Seen, took: float, options: argparse.Namespace, n_ctx: int) -> None:
    size = f"{options.clients} clients, {options.prompt:,} + {options.answer} tokens each"
    print(f"{size}; a cache of {seen.kv_cells:,} cells, {options.contexts} contexts of {n_ctx:,}: {took:.0f} s")
    for end, count in sorted(seen.ends.items()):
        print(f"  {end}: {count}")
    print(f"  answered at try: {', '.join(f'{tries}: {count}' for tries, count in sorted(seen.tries.items()))}")
    if seen.retry_after:
        print(f"  Retry-After: {min(seen.retry_after):.1f} to {max(seen.retry_after):.1f} s")
    if seen.positions:
        print(f"  places told: {sum(seen.positions.values())}, 1 to {max(seen.positions)}")
    if seen.waits:
        ratios = sorted(real / expected for expected, real in seen.waits if expected > 0.5)
        spread = [ratios[int(len(ratios) * part)] for part in (0.1, 0.5, 0.9)] if ratios else []
        told = ", ".join(f"{ratio:.2f}" for ratio in spread)
        print(f"  expected waits told: {len(seen.waits)}; real / expected, p10, p50, p90: {told}")
    print(f"  cells filled at most, as told: {seen.kv_used:,} of {seen.kv_cells:,}")
    for line in sorted(set(seen.improper)):
        print(f"  IMPROPER: {line}")


if __name__ == "__main__":
    sys.exit(main())
