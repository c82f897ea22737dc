"""`llmchat bench`: its commands and their options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tui.commands.options import BackendName, Config, Docs, KeyVariable, Model, Url
from tui.exit_codes import ExitCode
from tui.leaving import leave

bench = typer.Typer(help="Measure: load on any backend, or our engine beside llama-server.", rich_markup_mode=None)


@bench.callback(invoke_without_command=True)
def bench_load(
    context: typer.Context,
    config: Config = None,
    backend: BackendName = None,
    url: Url = None,
    model: Model = None,
    api_key_env: KeyVariable = None,
    docs: Docs = None,
    prompt: Annotated[
        str, typer.Option("--prompt", metavar="TOKENS", help="128, 16-256, normal:M,D or lognormal:MEDIAN,P95.")
    ] = "128",
    output: Annotated[str, typer.Option("--output", metavar="TOKENS", help="The same, of the answers.")] = "64",
    concurrency: Annotated[
        str, typer.Option("--concurrency", metavar="N,...", help="Clients at a time; several: one after the other.")
    ] = "1",
    rate: Annotated[
        str, typer.Option("--rate", metavar="R,...", help="Instead: R requests/s on average, Poisson arrivals.")
    ] = "",
    count: Annotated[
        int | None, typer.Option("--count", min=1, metavar="N", help="Requests, of each load of several.")
    ] = None,
    duration: Annotated[
        float | None, typer.Option("--duration", min=0.1, metavar="S", help="Seconds in which requests are sent.")
    ] = None,
    warm_up: Annotated[int, typer.Option("--warm-up", min=0, metavar="N", help="Requests before it counts.")] = 1,
    shared_prefix: Annotated[
        int, typer.Option("--shared-prefix", min=0, metavar="TOKENS", help="So many begin the prompts alike.")
    ] = 0,
    shared_share: Annotated[
        float, typer.Option("--shared-share", min=0.0, max=1.0, metavar="SHARE", help="Of the prompts that do.")
    ] = 1.0,
    prompts: Annotated[
        Path | None, typer.Option("--prompts", metavar="FILE", help="JSON Lines of prompts to ask instead.")
    ] = None,
    temperature: Annotated[float, typer.Option("--temperature", "-t", min=0.0, metavar="T")] = 0.0,
    feature: Annotated[str, typer.Option("--feature", metavar="NAME", help="Whose budgets goodput means.")] = "chat",
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Same seed, same load.")] = 0,
    plot: Annotated[bool, typer.Option("--plot", help="Draw latency over load; needs 'llmchat[plots]'.")] = False,
    json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Every request's numbers, also for 'compare'.")
    ] = None,
    csv: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="The table, one line a load.")] = None,
) -> None:
    """Put load on a backend: TTFT, TPOT, gaps and totals at their percentiles, throughput, goodput, errors.

    With --rate, times count from when a request was due, not from when it could be sent.
    """
    if context.invoked_subcommand is not None:
        return

    def command() -> ExitCode:
        from tui.commands import bench_load
        from tui.target import Target

        asked = bench_load.LoadRequest(
            prompt,
            output,
            concurrency,
            rate,
            count,
            duration,
            warm_up,
            shared_prefix,
            shared_share,
            prompts,
            temperature,
            feature,
            seed,
            plot,
            json,
            csv,
        )
        return bench_load.load(Target(config, backend, url, model, api_key_env, docs), asked)

    leave(command)


@bench.command("compare")
def bench_compare(
    one: Annotated[Path, typer.Argument(metavar="A", help="What bench --json wrote.")],
    other: Annotated[Path, typer.Argument(metavar="B", help="The same of another time, server or version.")],
) -> None:
    """Two results beside each other: B / A at each percentile, with 95 % confidence intervals (bootstrap)."""

    def command() -> ExitCode:
        from tui.commands.bench_load import compare

        return compare(one, other)

    leave(command)


@bench.command("engine")
def bench_engine(
    model: Annotated[Path | None, typer.Option("--model", "-m", metavar="GGUF", help="Instead of --sizes.")] = None,
    llama_server: Annotated[
        Path | None, typer.Option("--llama-server", metavar="PATH", help="Whom to measure against.")
    ] = None,
    sizes: Annotated[
        str, typer.Option("--sizes", metavar="T,S,M,P", help="Models made for it; P: drafts and targets.")
    ] = "T,S",
    json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Keep samples there, and go on from them.")
    ] = None,
    only: Annotated[str, typer.Option("--only", metavar="NAME,...", help="These measurements only.")] = "",
    repeats: Annotated[float, typer.Option("--repeats", metavar="FACTOR", help="More or fewer repetitions.")] = 1.0,
    seconds: Annotated[
        float | None, typer.Option("--for", metavar="S", help="Begin nothing new after S seconds.")
    ] = None,
    threads: Annotated[int, typer.Option("--threads", min=0, metavar="N", help="0: as the engine would.")] = 0,
    folder: Annotated[Path | None, typer.Option("--folder", metavar="FOLDER", help="Models and logs.")] = None,
) -> None:
    """Our engine beside llama-server: same model, threads, context and batches, taking turns."""

    def command() -> ExitCode:
        from tui.commands import bench

        return bench.engine(
            bench.EngineRequest(model, llama_server, sizes, json, only, repeats, seconds, threads, folder)
        )

    leave(command)


@bench.command("rag")
def bench_rag(
    docs: Annotated[
        Path | None, typer.Option("--docs", metavar="FOLDER", help="Instead of the sample documents.")
    ] = None,
    questions: Annotated[
        Path | None,
        typer.Option("--questions", metavar="FILE", help='JSON list of {"question", "section", "expect", "follows"}.'),
    ] = None,
    top_k: Annotated[int, typer.Option("--top-k", min=1, max=50, metavar="N", help="Passages before a question.")] = 3,
    misses: Annotated[
        str, typer.Option("--misses", metavar="SET", help="Also list this set's questions whose section is missed.")
    ] = "",
    embedding: Annotated[
        Path | None, typer.Option("--embedding", metavar="GGUF", help="Also by meaning, with this model.")
    ] = None,
    json: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="The scores.")] = None,
) -> None:
    """Retrieval alone: recall@1, 3, 5 and MRR on questions whose passage is known, and the time of a query."""

    def command() -> ExitCode:
        from tui.commands.bench_rag import RagRequest, measure

        return measure(RagRequest(docs, questions, top_k, misses, embedding, json))

    leave(command)
