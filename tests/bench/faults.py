"""Every fault, as it is shown: the state, what is kept, the time until it is noticed, and the line that a person reads.

Run as ``python -m tests.bench.faults`` or ``make bench-faults``; the exit code is 1 where one did not end as it should.
The time is from the last text, or from the question, to the end: for a fault that is a time limit, that limit.
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from tests.fakes.dialects import DIALECTS
from tests.fakes.faults import FAULTS, Ending, Fault, mistakes, try_out

Tried = tuple[str, Ending, list[str]]


async def tried(fault: Fault) -> list[Tried]:
    """Each dialect, how it ended there, and what is not as it should be."""
    found = []
    for name in sorted(fault.dialects):
        ending = await try_out(fault, DIALECTS[name])
        found.append((name, ending, mistakes(fault, DIALECTS[name], ending)))
    return found


def row(fault: Fault, found: list[Tried]) -> str:
    """One line of the table; state and words are those of `openai`, where it was tried there."""
    right = sum(not wrong for *_, wrong in found)
    ending = next((it for name, it, _ in found if name == "openai"), found[-1][1])
    state = f"{ending.outcome} `{ending.code}`" if ending.code else ending.outcome
    kept = "-" if not fault.kept else "all" if all(it.text == fault.kept for _, it, _ in found) else "**not all**"
    took = max(it.noticed for _, it, _ in found)
    words = ending.message.replace("|", "/")
    return f"| {fault.name} | {right} of {len(found)} | {state} | {kept} | {1000 * took:,.0f} | {words} |"


async def main(names: list[str]) -> int:
    """Print the table; the number of endings that are not right."""
    print("| fault | right in | state | text kept | noticed after ms, at most | the line |")
    print("| --- | --- | --- | --- | --- | --- |")
    endings = wrong = 0
    for name in names or FAULTS:
        found = await tried(FAULTS[name])
        print(row(FAULTS[name], found), flush=True)
        endings += len(found)
        for dialect, _, problems in found:
            wrong += bool(problems)
            for problem in problems:
                print(f"{name}, {dialect}: {problem}", file=sys.stderr)
    print(f"\n{endings - wrong} of {endings} endings right, {len(DIALECTS)} dialects: {', '.join(DIALECTS)}")
    return wrong


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fault", nargs="*", help="only these")
    wanted = parser.parse_args().fault
    if unknown := set(wanted) - set(FAULTS):
        parser.error(f"no such fault: {', '.join(unknown)}; there are: {', '.join(FAULTS)}")
    sys.exit(min(1, asyncio.run(main(wanted))))
