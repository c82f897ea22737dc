"""`llmchat ask`: its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tui.commands.options import Config, Docs, KeyVariable, Model, Record, Url
from tui.exit_codes import ExitCode
from tui.leaving import leave


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
