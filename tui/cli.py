"""The `llmchat` command: options and subcommands.

What a command needs is imported when it is called: `llmchat --version` imports nothing but typer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tui import cli_history
from tui.cli_options import BackendName, Config
from tui.exit_codes import TABLE, ExitCode
from tui.leaving import leave

app = typer.Typer(
    name="llmchat",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Url = Annotated[str | None, typer.Option("--url", metavar="URL", help="A server of any kind; no configuration needed.")]
Model = Annotated[
    str | None, typer.Option("--model", "-m", metavar="MODEL", help="The model's name; FILE.gguf: run that file here.")
]
KeyVariable = Annotated[
    str | None, typer.Option("--api-key-env", metavar="NAME", help="Environment variable with the key for --url.")
]
Docs = Annotated[
    Path | None, typer.Option("--docs", metavar="FOLDER", help="Answer from these documents, with citations.")
]
Record = Annotated[
    Path | None, typer.Option("--record", metavar="FOLDER", help="Record every answer there, for the replay backend.")
]
KeyFile = Annotated[
    Path | None, typer.Option("--keys", metavar="FILE", help="The key file; default: the configuration's.")
]


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"llmchat {version('llmchat')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def chat(
    context: typer.Context,
    config: Config = None,
    backend: BackendName = None,
    url: Url = None,
    model: Model = None,
    api_key_env: KeyVariable = None,
    docs: Docs = None,
    record: Record = None,
    resume: Annotated[bool, typer.Option("--continue", "-c", help="Go on with the newest conversation.")] = False,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """Chat with a language model, and see where the time goes.

    Without a command: the chat, on the embedded demo model unless told otherwise.
    """
    given = (config, backend, url, model, api_key_env, docs, record)
    if context.invoked_subcommand is not None:
        if resume or any(value is not None for value in given):
            raise typer.BadParameter(f"options belong behind the command: llmchat {context.invoked_subcommand} --...")
        return

    def command() -> ExitCode:
        from tui.commands import chat
        from tui.target import Target

        return chat.run(Target(*given), resume)

    leave(command)


@app.command(epilog="\b\n" + TABLE)
def ask(
    words: Annotated[list[str] | None, typer.Argument(metavar="QUESTION", help="'-' reads it from stdin.")] = None,
    config: Config = None,
    backend: Annotated[
        list[str] | None,
        typer.Option("--backend", metavar="NAME", help="A backend of the configuration; several are asked at once."),
    ] = None,
    url: Url = None,
    model: Model = None,
    api_key_env: KeyVariable = None,
    docs: Docs = None,
    record: Record = None,
    system: Annotated[str, typer.Option("--system", "-s", metavar="TEXT", help="The system prompt.")] = "",
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", min=1, metavar="N", help="End the answer there.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option("--temperature", "-t", min=0.0, metavar="T", help="0 is greedy.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", metavar="N", help="Draw the same answer again.")] = None,
    top_p: Annotated[
        float | None, typer.Option("--top-p", min=0.0, max=1.0, metavar="P", help="Draw from the likeliest tokens.")
    ] = None,
    stop: Annotated[
        list[str] | None, typer.Option("--stop", metavar="TEXT", help="End the answer before it; may be repeated.")
    ] = None,
    json_schema: Annotated[
        Path | None, typer.Option("--json-schema", metavar="FILE", help="Answer in JSON of this schema.")
    ] = None,
    grammar: Annotated[
        Path | None, typer.Option("--grammar", metavar="FILE", help="Answer by this grammar (GBNF).")
    ] = None,
    reasoning: Annotated[
        bool, typer.Option("--reasoning/--no-reasoning", help="Whether a model that can think may do so.")
    ] = True,
    json: Annotated[
        bool, typer.Option("--json", help="Every event as a JSON line; the last is done or error.")
    ] = False,
    stats: Annotated[bool, typer.Option("--stats", help="Latencies and their account, on stderr.")] = False,
    sources: Annotated[
        bool, typer.Option("--sources", help="List the citations; a terminal always gets them.")
    ] = False,
) -> None:
    """Answer one question on stdout, streaming. What is piped in is put before the question."""

    def command() -> ExitCode:
        from tui.commands.ask import Question, failures_told, run
        from tui.commands.ask_sampling import read_sampling
        from tui.target import Target

        names = backend or []
        target = Target(config, names[0] if names else None, url, model, api_key_env, docs, record)
        with failures_told(json):
            sampling = read_sampling(temperature, seed, top_p, stop or (), json_schema, grammar)
            question = Question(words or (), system, max_tokens, sampling, reasoning, json, stats, sources)
            return run(target, question, names[1:])

    leave(command)


@app.command()
def serve(
    config: Config = None,
    backend: BackendName = None,
    url: Url = None,
    model: Model = None,
    api_key_env: KeyVariable = None,
    docs: Docs = None,
    host: Annotated[str, typer.Option("--host", metavar="HOST", help="Listen there.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, metavar="PORT", help="0: any free port.")] = 8080,
    uds: Annotated[Path | None, typer.Option("--uds", metavar="PATH", help="Listen on a Unix socket instead.")] = None,
    token_env: Annotated[
        str | None,
        typer.Option("--token-env", metavar="NAME", help="Environment variable with the token clients need."),
    ] = None,
    keys: KeyFile = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Let everybody in who reaches --host, without keys.")
    ] = False,
    resume_grace: Annotated[
        float,
        typer.Option(
            "--resume-grace",
            min=0.0,
            max=3600.0,
            metavar="SECONDS",
            help="How long a client that lost the connection can come back.",
        ),
    ] = 10.0,
) -> None:
    """Put a backend on HTTP, as a stream of server-sent events."""

    def command() -> ExitCode:
        from tui.commands import serve
        from tui.target import Target

        target = Target(config, backend, url, model, api_key_env, docs)
        return serve.run(target, serve.Listen(host, port, uds, token_env, keys, insecure), resume_grace)

    leave(command)


keys = typer.Typer(help="The API keys of `llmchat serve`.", rich_markup_mode=None, no_args_is_help=True)
app.add_typer(keys, name="keys")


@keys.command("add")
def keys_add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose key it is.")],
    file: KeyFile = None,
    config: Config = None,
    requests_per_minute: Annotated[
        int, typer.Option("--rpm", min=0, metavar="N", help="Requests a minute, at most; 0: the configuration's.")
    ] = 0,
    concurrency: Annotated[
        int, typer.Option("--concurrency", min=0, metavar="N", help="Answers at a time; 0: the configuration's.")
    ] = 0,
) -> None:
    """Make a key and show it, this once: only its hash is kept."""

    def command() -> ExitCode:
        from tui.commands import keys

        return keys.add(keys.path_of(file, config), name, requests_per_minute, concurrency)

    leave(command)


@keys.command("list")
def keys_list(file: KeyFile = None, config: Config = None) -> None:
    """List the keys: id, day, name, limits."""

    def command() -> ExitCode:
        from tui.commands import keys

        return keys.show(keys.path_of(file, config))

    leave(command)


@keys.command("revoke")
def keys_revoke(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name or id.")],
    file: KeyFile = None,
    config: Config = None,
) -> None:
    """Take a key away. A server that runs refuses it from then on."""

    def command() -> ExitCode:
        from tui.commands import keys

        return keys.revoke(keys.path_of(file, config), name)

    leave(command)


@app.command()
def index(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder of documents, or one file.")],
    config: Config = None,
    backend: BackendName = None,
) -> None:
    """Read documents into the index that --docs FOLDER answers from: what is new or has changed.

    Markdown, text and HTML; PDF and Word (.docx) with pip install 'llmchat[docs]'. --docs does it by itself; this is
    to have it done before, and to see what could not be read.
    """

    def command() -> ExitCode:
        from tui.commands import index
        from tui.target import Target

        return index.run(Target(config, backend), folder)

    leave(command)


@app.command()
def backends(
    config: Config = None,
    models: Annotated[bool, typer.Option("--models", help="Ask each server which models it has.")] = False,
) -> None:
    """List the configured backends, whether each can be used, and what else runs on this machine."""

    def command() -> ExitCode:
        from tui.commands import backends
        from tui.target import Target

        return backends.run(Target(config=config), models)

    leave(command)


@app.command()
def doctor(
    config: Config = None,
    backend: BackendName = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", metavar="FILE.gguf", help="What of this model fits here.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="The same for programs.")] = False,
) -> None:
    """Versions, build, machine, configuration, folders, terminal; and what of a model fits into memory."""

    def command() -> ExitCode:
        from tui.commands import doctor
        from tui.target import Target

        return doctor.run(Target(config, backend, model=model), json)

    leave(command)


cli_history.add_to(app)

bench = typer.Typer(help="Measure: load on any backend, or our engine beside llama-server.", rich_markup_mode=None)
app.add_typer(bench, name="bench", invoke_without_command=True)


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
