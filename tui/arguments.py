"""The command line of each command, read by the standard library's argparse, which costs a start next to nothing.

A command's parser is made when it is called. What is given comes out as a namespace whose names are those of the code
that takes it (`Target`, `Question`, `LoadRequest`, ...).
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from tui.exit_codes import TABLE, ExitCode

COMMANDS = {
    "ask": "Answer one question on stdout, streaming. What is piped in is put before the question.",
    "serve": "Put a backend on HTTP, as a stream of server-sent events.",
    "backends": "List the configured backends, whether each can be used, and what else runs on this machine.",
    "doctor": "Versions, build, machine, configuration, folders, terminal; and what of a model fits into memory.",
    "bench": "Measure: load on any backend, or our engine beside llama-server (bench engine).",
}
_CHAT = """Chat with a language model, and see where the time goes.

Without a command: the chat, on the embedded demo model unless told otherwise."""
_LOAD = """Put load on a backend: TTFT, TPOT, gaps and totals at their percentiles, throughput, goodput, errors.

With --rate, times count from when a request was due, not from when it could be sent.
llmchat bench engine measures our engine beside llama-server."""
_FOLDER = "~/Library/Application Support" if sys.platform == "darwin" else "~/.config"


class Parser(argparse.ArgumentParser):
    """argparse with whole words only, and the exit code for wrong usage."""

    def __init__(self, command: str, about: str, epilog: str = "") -> None:
        super().__init__(
            prog=f"llmchat {command}".rstrip(),
            description=about,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        """argparse's hook."""
        self.exit(ExitCode.USAGE, f"Usage: {self.prog} [OPTIONS]\nTry '{self.prog} --help'.\n\nError: {message}\n")

    def format_help(self) -> str:
        """argparse's hook."""
        return super().format_help().replace("usage: ", "Usage: ", 1)

    def targets(self, *left_out: str) -> None:
        """The options of `Target`."""
        for name, about in _TARGET.items():
            if name not in left_out:
                self.add_argument(f"--{name}", *_SHORT.get(name, ()), **about)


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        from importlib.metadata import version

        print(f"llmchat {version('llmchat')}")
        parser.exit()


_TARGET: dict[str, dict[str, Any]] = {
    "config": {
        "type": Path,
        "metavar": "PATH",
        "help": f"Default: $LLMCHAT_CONFIG, {_FOLDER}/llmchat/config.toml.",
    },
    "backend": {"metavar": "NAME", "help": "A backend of the configuration."},
    "url": {"metavar": "URL", "help": "A server of any kind; no configuration needed."},
    "model": {"metavar": "MODEL", "help": "The model's name; FILE.gguf: run that file here."},
    "api-key-env": {"metavar": "NAME", "help": "Environment variable with the key for --url."},
    "docs": {"type": Path, "metavar": "FOLDER", "help": "Answer from these documents, with citations."},
    "record": {"type": Path, "metavar": "FOLDER", "help": "Record every answer there, for the replay backend."},
}
_SHORT = {"model": ("-m",)}


def whole(least: int, most: float = math.inf) -> Callable[[str], int]:
    """Reads a whole number from `least` to `most`."""

    def read(text: str) -> int:
        value = int(text)
        _check(value, least, most)
        return value

    read.__name__ = "whole number"  # argparse names it where the text is none
    return read


def number(least: float, most: float = math.inf) -> Callable[[str], float]:
    """Reads a number from `least` to `most`."""

    def read(text: str) -> float:
        value = float(text)
        _check(value, least, most)
        return value

    read.__name__ = "number"
    return read


def _check(value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        bounds = f"at least {least}" if most == math.inf else f"from {least} to {most}"
        raise argparse.ArgumentTypeError(f"{value} is not {bounds}")


def chat(given: Sequence[str]) -> argparse.Namespace:
    """`llmchat`."""
    commands = "\n".join(f"  {name:<9} {about}" for name, about in COMMANDS.items())
    parser = Parser("", _CHAT, f"commands (llmchat COMMAND --help):\n{commands}")
    parser.targets()
    add = parser.add_argument
    add("--continue", "-c", dest="resume", action="store_true", help="Go on with the newest conversation.")
    add("--version", action=_Version, nargs=0, help="Show the version and exit.")
    add("command", nargs="?", metavar="COMMAND", help="See below; options belong behind it.")
    found, more = parser.parse_known_args(given)
    if found.command in COMMANDS:
        parser.error(f"options belong behind the command: llmchat {found.command} --...")
    if found.command is not None or more:
        word = found.command if found.command is not None else more[0]
        parser.error(f"no such {'option' if word.startswith('-') else 'command'}: {word}")
    return found


def ask(given: Sequence[str]) -> argparse.Namespace:
    """`llmchat ask`."""
    parser = Parser("ask", COMMANDS["ask"], TABLE)
    add = parser.add_argument
    add("words", nargs="*", metavar="QUESTION", help="'-' reads it from stdin.")
    parser.targets()
    add("--system", "-s", metavar="TEXT", default="", help="The system prompt.")
    add("--max-tokens", type=whole(1), metavar="N", help="End the answer there.")
    add("--temperature", "-t", type=number(0), metavar="T", help="0 is greedy.")
    add("--seed", type=int, metavar="N", help="Draw the same answer again.")
    add("--top-p", type=number(0, 1), metavar="P", help="Draw from the likeliest tokens.")
    add("--stop", action="append", metavar="TEXT", help="End the answer before it; may be repeated.")
    add("--json-schema", type=Path, metavar="FILE", help="Answer in JSON of this schema.")
    add("--grammar", type=Path, metavar="FILE", help="Answer by this grammar (GBNF).")
    add("--reasoning", default=True, action=argparse.BooleanOptionalAction, help="Whether a model that can may think.")
    add("--json", action="store_true", help="Every event as a JSON line; the last is done or error.")
    add("--stats", action="store_true", help="Latencies and their account, on stderr.")
    add("--sources", action="store_true", help="List the citations; a terminal always gets them.")
    return parser.parse_intermixed_args(given)


def serve(given: Sequence[str]) -> argparse.Namespace:
    """`llmchat serve`."""
    parser = Parser("serve", COMMANDS["serve"])
    parser.targets("record")
    add = parser.add_argument
    add("--host", default="127.0.0.1", metavar="HOST", help="Listen there (default: %(default)s).")
    add("--port", type=whole(0, 65_535), default=8080, metavar="PORT", help="0: any free port (default: %(default)s).")
    add("--uds", type=Path, metavar="PATH", help="Listen on a Unix socket instead.")
    add("--token-env", metavar="NAME", help="Environment variable with the token clients need.")
    patience = "How long a client that lost the connection can come back (default: %(default)s)."
    add("--resume-grace", type=number(0, 3600), default=10.0, metavar="SECONDS", help=patience)
    return parser.parse_args(given)


def backends(given: Sequence[str]) -> argparse.Namespace:
    """`llmchat backends`."""
    parser = Parser("backends", COMMANDS["backends"])
    parser.targets("backend", "url", "model", "api-key-env", "docs", "record")
    parser.add_argument("--models", action="store_true", help="Ask each server which models it has.")
    return parser.parse_args(given)


def doctor(given: Sequence[str]) -> argparse.Namespace:
    """`llmchat doctor`."""
    parser = Parser("doctor", COMMANDS["doctor"])
    parser.targets("url", "model", "api-key-env", "docs", "record")
    parser.add_argument("--model", "-m", metavar="FILE.gguf", help="What of this model fits here.")
    parser.add_argument("--json", action="store_true", help="The same for programs.")
    return parser.parse_args(given)


def bench_load(given: Sequence[str]) -> argparse.Namespace:
    """`llmchat bench`."""
    parser = Parser("bench", _LOAD)
    parser.targets("record")
    add = parser.add_argument
    add("--prompt", default="128", metavar="TOKENS", help="128, 16-256, normal:M,D or lognormal:MEDIAN,P95.")
    add("--output", default="64", metavar="TOKENS", help="The same, of the answers (default: %(default)s).")
    add("--concurrency", type=whole(1), default=1, metavar="N", help="Clients at a time (default: %(default)s).")
    add("--rate", type=number(0.001), metavar="R", help="Instead: R requests/s, Poisson arrivals.")
    add("--count", type=whole(1), metavar="N", help="Requests in all.")
    add("--duration", type=number(0.1), metavar="S", help="Seconds in which requests are sent.")
    add("--warm-up", type=whole(0), default=1, metavar="N", help="Requests before it counts (default: %(default)s).")
    add("--shared-prefix", type=whole(0), default=0, metavar="TOKENS", help="So many begin the prompts alike.")
    add("--shared-share", type=number(0, 1), default=1.0, metavar="SHARE", help="Of the prompts that do.")
    add("--prompts", type=Path, metavar="FILE", help="JSON Lines of prompts to ask instead.")
    add("--temperature", "-t", type=number(0), default=0.0, metavar="T", help="0 is greedy (default).")
    add("--feature", default="chat", metavar="NAME", help="Whose budgets goodput means (default: %(default)s).")
    add("--seed", type=int, default=0, metavar="N", help="Same seed, same load.")
    add("--json", type=Path, metavar="FILE", help="Every request's numbers.")
    return parser.parse_args(given)


def bench_engine(given: Sequence[str]) -> argparse.Namespace:
    """`llmchat bench engine`."""
    about = "Our engine beside llama-server: same model, threads, context and batches, taking turns."
    parser = Parser("bench engine", about)
    add = parser.add_argument
    add("--model", "-m", type=Path, metavar="GGUF", help="Instead of --sizes.")
    add("--llama-server", dest="rival", type=Path, metavar="PATH", help="Whom to measure against.")
    add("--sizes", default="T,S", metavar="T,S,M,P", help="Models made for it; P: drafts and targets.")
    add("--json", type=Path, metavar="FILE", help="Keep samples there, and go on from them.")
    add("--only", default="", metavar="NAME,...", help="These measurements only.")
    add("--repeats", type=float, default=1.0, metavar="FACTOR", help="More or fewer repetitions.")
    add("--for", dest="seconds", type=float, metavar="S", help="Begin nothing new after S seconds.")
    add("--threads", type=whole(0), default=0, metavar="N", help="0: as the engine would.")
    add("--folder", type=Path, metavar="FOLDER", help="Models and logs.")
    return parser.parse_args(given)
