"""The results on disk, so that a run can be taken up where it was broken off."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.bench.screen.plan import Cell, Row, Taken


class Results:
    """What `path` holds, and what is added to it. A new file is begun unless `resumed`."""

    def __init__(self, path: Path, *, resumed: bool) -> None:
        self._path = path
        self.rows: list[Row] = []
        self.machines: list[dict[str, Any]] = []
        if resumed and path.exists():
            stored = json.loads(path.read_text("utf-8"))
            self.machines = stored["machines"]
            self.rows = [_row(values) for values in stored["rows"]]

    @property
    def taken(self) -> Taken:
        """How often each measurement was taken."""
        return Counter((row.what, row.cell, row.client) for row in self.rows)

    def begin(self, machine: dict[str, Any]) -> None:
        """Another piece of the run, on `machine`."""
        self.machines.append(machine)

    def add(self, row: Row) -> None:
        """Keep `row`, at once."""
        self.rows.append(row)
        whole = {"machines": self.machines, "rows": [row._asdict() for row in self.rows]}
        fresh = self._path.with_name(self._path.name + ".new")
        fresh.write_text(json.dumps(whole, indent=1), "utf-8")
        fresh.replace(self._path)


def _row(values: dict[str, Any]) -> Row:
    cell: Sequence[int] | None = values["cell"]
    return Row(values["what"], None if cell is None else Cell(*cell), values["client"], values["result"])
