"""Race llmchat against other terminal clients on a real terminal: `make bench-screen`.

A server of its own streams the same scripted Markdown to each client on a fixed schedule, on a pseudo-terminal of
120 x 40 that answers as a modern one does. The lag is from "the server wrote this marker" to "the marker was read from
the terminal". Only ratios within one run mean anything. Linux only; about 20 minutes, with --quick about 2.

`llm` takes part where it is found on the PATH, or where $BENCH_LLM says:

    python3 -m venv FOLDER && FOLDER/bin/pip install llm && BENCH_LLM=FOLDER/bin/llm make bench-screen
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from tests.bench.screen import process_usage
from tests.bench.screen.clients import LLM, LLM_VARIABLE, field_of_clients
from tests.bench.screen.plan import FULL_CELLS, QUICK, Cell, Plan, Row, carry_out
from tests.bench.screen.report import table


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
    load = os.getloadavg()
    rows: list[Row] = []
    try:
        for row in carry_out(_plan(wanted), clients, _tell):
            rows.append(row)
            wanted.json.write_text(json.dumps({"machine": _machine(load), "rows": [row._asdict() for row in rows]}))
    except KeyboardInterrupt:
        _tell("interrupted: the table has what there is")
    print(table(rows))
    print(f"\n{_sentence(load)}")


def _plan(wanted: argparse.Namespace) -> Plan:
    plan = QUICK if wanted.quick else Plan()
    given = {name: getattr(wanted, name) for name in ("cells", "runs", "starts", "keys", "cancels")}
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
    parser.add_argument("--keys", type=int, help="keys typed while an answer streams, at most 64")
    parser.add_argument("--cancels", type=int, help="answers cancelled")
    parser.add_argument("--clients", type=lambda text: text.split(","), metavar="PART,...", help="parts of their names")
    parser.add_argument("--json", type=Path, default=Path("bench-screen.json"), help="where every result goes")
    return parser.parse_args()


def _cells(text: str) -> tuple[Cell, ...]:
    """``500x100,2000x500``. Raises ValueError."""
    pairs = [part.split("x") for part in text.split(",")]
    return tuple(Cell(int(tokens), int(rate)) for tokens, rate in pairs)


def _machine(load: tuple[float, float, float]) -> dict[str, object]:
    return {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "textual": version("textual"),
        "load_before": load[0],
        "load_after": os.getloadavg()[0],
    }


def _sentence(load: tuple[float, float, float]) -> str:
    about = _machine(load)
    return (
        f"{about['cores']} cores, Python {about['python']}, Textual {about['textual']}; "
        f"load {load[0]:.1f} before, {os.getloadavg()[0]:.1f} after."
    )


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
