"""Race llmchat against other terminal clients on a real terminal: `make bench-screen`.

A server of its own streams the same scripted Markdown to each client on a fixed schedule, on a pseudo-terminal of
120 x 40 that answers as a modern one does. The lag is from "the server wrote this marker" to "the marker was read from
the terminal". Only ratios within one run mean anything. Linux only; about 20 minutes, with --quick about 2.

`llm` takes part where it is found on the PATH, or where $BENCH_LLM says:

    python3 -m venv FOLDER && FOLDER/bin/pip install llm && BENCH_LLM=FOLDER/bin/llm make bench-screen
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.bench.screen import process_usage
from tests.bench.screen.clients import LLM, LLM_VARIABLE, field_of_clients
from tests.bench.screen.plan import FULL_CELLS, QUICK, Cell, Plan, carry_out
from tests.bench.screen.report import table
from tests.bench.screen.results import Results


def main() -> None:
    """The command."""
    wanted = _arguments()
    if not process_usage.available():
        sys.exit("bench-screen needs Linux: CPU time and memory of the clients are read from /proc")
    clients = field_of_clients()
    if all(client.name != LLM for client in clients):
        _tell(f"llm is left out: it is not installed (${LLM_VARIABLE} can name it; see --help)")
    if wanted.clients:
        clients = [client for client in clients if any(part in client.name for part in wanted.clients)]
    results = Results(wanted.json, resumed=wanted.resume or wanted.report)
    if not wanted.report:
        results.begin(_machine())
        end = time.monotonic() + wanted.seconds
        try:
            for row in carry_out(_plan(wanted), clients, results.taken, lambda: end - time.monotonic(), _tell):
                results.add(row)
        except KeyboardInterrupt:
            _tell("interrupted: the table has what there is")
    print(table(results.rows))
    print(f"\n{_sentence(results.machines)}")


def _plan(wanted: argparse.Namespace) -> Plan:
    plan = QUICK if wanted.quick else Plan()
    given = {name: getattr(wanted, name) for name in ("cells", "runs", "starts", "enters", "keys", "cancels", "idle")}
    return replace(plan, **{name: value for name, value in given.items() if value is not None})


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench-screen", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    known = ",".join(f"{cell.tokens}x{cell.rate}" for cell in FULL_CELLS)
    parser.add_argument("--quick", action="store_true", help="two cells, about two minutes")
    parser.add_argument("--cells", type=_cells, metavar="TOKENSxRATE,...", help=f"default: {known}")
    parser.add_argument("--runs", type=int, help="runs of each cell (default 1)")
    parser.add_argument("--starts", type=int, help="cold starts")
    parser.add_argument("--enters", type=int, help="questions whose way to the server is timed; 0: none")
    parser.add_argument("--keys", type=int, help="keys typed while an answer streams, at most 64; 0: none")
    parser.add_argument("--cancels", type=int, help="answers cancelled; 0: none")
    parser.add_argument("--idle", type=float, metavar="SECONDS", help="how long doing nothing is watched")
    parser.add_argument("--clients", type=lambda text: text.split(","), metavar="PART,...", help="parts of their names")
    parser.add_argument("--json", type=Path, default=Path("bench-screen.json"), help="where every result goes")
    parser.add_argument("--resume", action="store_true", help="go on with what --json has, instead of anew")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin nothing that would take longer")
    parser.add_argument("--report", action="store_true", help="measure nothing: the table of what --json has")
    return parser.parse_args()


def _cells(text: str) -> tuple[Cell, ...]:
    """``500x100,2000x500``. Raises ValueError."""
    pairs = [part.split("x") for part in text.split(",")]
    return tuple(Cell(int(tokens), int(rate)) for tokens, rate in pairs)


def _machine() -> dict[str, Any]:
    return {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "textual": version("textual"),
        "load": os.getloadavg()[0],
    }


def _sentence(machines: list[dict[str, Any]]) -> str:
    loads = ", ".join(f"{machine['load']:.1f}" for machine in machines)
    kinds = {f"{about['cores']} cores, Python {about['python']}, Textual {about['textual']}" for about in machines}
    return f"{'; '.join(sorted(kinds))}; load before each piece of the run: {loads}."


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
