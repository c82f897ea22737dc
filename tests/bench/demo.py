"""The demo model as a client meets it: the time to its first token, and what speculation brings at its size.

Run as ``python -m tests.bench.demo``. TTFT: `llmchat serve` with the sample documents, 40 questions one after the
other, each after two earlier turns with their sources, so that a prompt has about 600 tokens. Speculation: greedy
answers of the engine in this process, without drafts, with the draft model, with n-gram lookup, and as by default.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from statistics import mean, median

from backends.backend import Backend, ChatRequest, Message, Sampling
from backends.bench.load import Load, Result, run
from backends.demo import DOCUMENTS, DRAFT, MODEL
from backends.demo.corpus import Corpus
from backends.demo.evaluate import retrieve
from backends.demo.handbook import handbook
from backends.engine import Engine, EngineOptions
from backends.engine.options import Drafts
from backends.providers.native import Native
from backends.providers.rag import sample_model
from backends.rag.assemble import user_turn
from backends.rag.index import Index
from backends.rag.options import Options
from backends.rag.prompt import SYSTEM
from backends.telemetry.spread import percentile

GREEDY = Sampling(temperature=0.0)


def conversations(index: Index, count: int) -> list[ChatRequest]:
    """Questions on the sample documents, each after two earlier ones with the sources that they were asked with."""
    corpus = Corpus(5, held_out=True)
    requests = []
    for _ in range(count):
        turns: list[Message] = []
        for _ in range(2):
            before = corpus.sample_question()[1]
            sources = retrieve(index, [before.question], Options())
            turns += [Message("user", before.question, sources), Message("assistant", before.answer)]
        now = corpus.sample_question()[1].question
        requests.append(ChatRequest((*turns, Message("user", now)), sampling=GREEDY))
    return requests


def prompts(index: Index, count: int) -> list[ChatRequest]:
    """Prompts as they reach the engine: half of them for one fact, half for long answers."""
    corpus = Corpus(6, held_out=True)
    topics = [topic for document in handbook() for section in document.sections for topic in section.topics[:1]]
    requests = []
    for number in range(count):
        question = corpus.sample_question()[1].question if number % 2 else f"Explain {topics[number // 2]} in detail."
        found = retrieve(index, [question], Options())
        turns = Message("system", SYSTEM), Message("user", user_turn(found, question))
        requests.append(ChatRequest(turns, sampling=GREEDY, docs=False))
    return requests


@asynccontextmanager
async def service(folder: Path) -> AsyncIterator[Native]:
    """`llmchat serve` as a user starts it, and a client of it."""
    socket = folder / "s"
    home = {"HOME": str(folder), "XDG_RUNTIME_DIR": str(folder)}
    command = [sys.executable, "-m", "tui", "serve", "--uds", str(socket)]
    process = await asyncio.create_subprocess_exec(*command, env=os.environ | home, stdout=asyncio.subprocess.DEVNULL)
    try:
        while not socket.exists():
            if process.returncode is not None:
                raise RuntimeError(f"llmchat serve ended with {process.returncode}")
            await asyncio.sleep(0.1)
        async with aclosing(Native(uds=str(socket))) as client:
            yield client
    finally:
        process.terminate()
        await process.wait()


async def first_token(index: Index, count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with service(Path(folder)) as client:
            requests = conversations(index, count + 3)
            results = (await run(client, iter(requests), Load(count=count, warm_up=3))).results
    _complain(results)
    ttft = [result.ttft for result in results if result.ttft is not None]
    tokens = [result.prompt_tokens or 0 for result in results]
    computed = [(result.prompt_tokens or 0) - (result.cached_tokens or 0) for result in results]
    print(f"TTFT, {len(ttft)} questions, prompts of {mean(tokens):.0f} tokens, {mean(computed):.0f} of them computed:")
    print(f"  p50 {median(ttft):.0f} ms, p95 {percentile(ttft, 95):.0f} ms, most {max(ttft):.0f} ms")


async def speculation(index: Index, count: int) -> None:
    requests = prompts(index, count + 10)
    kinds: tuple[Drafts, ...] = ("off", "model", "ngram", "auto")
    rates: dict[Drafts, list[float]] = {kind: [] for kind in kinds}
    notes: dict[Drafts, str] = {}
    for _ in range(2):  # each twice, in turn: what else the machine does falls on all of them
        for kind in kinds:
            options = EngineOptions(model=str(MODEL), draft_model=str(DRAFT), draft=kind, n_ctx=4096, max_streams=1)
            engine: Backend = Engine(options)
            async with aclosing(engine):
                results = (await run(engine, iter(requests), Load(count=count, warm_up=10))).results
            _complain(results)
            seconds = sum((r.total or 0) - (r.ttft or 0) for r in results) / 1000
            rates[kind].append(sum(r.tokens for r in results) / seconds)
            drafted = sum(r.draft_tokens or 0 for r in results)
            kept = sum(r.accepted_tokens or 0 for r in results)
            notes[kind] = f"{kept} of {drafted} drafted tokens kept, answers of {mean(r.tokens for r in results):.0f}"
    for kind in kinds:
        rate = max(rates[kind])
        print(f"{kind:6} {rate:6.0f} tok/s, {rate / max(rates['off']):.2f} of plain; {notes[kind]}")


def _complain(results: tuple[Result, ...]) -> None:
    for result in results:
        if not result.good:
            raise RuntimeError(result.error)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=40)
    args = parser.parse_args()
    index = Index([DOCUMENTS], model=sample_model())
    index.refresh()
    began = time.perf_counter()
    asyncio.run(first_token(index, args.count))
    asyncio.run(speculation(index, args.count))
    index.close()
    print(f"{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
