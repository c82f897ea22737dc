"""Watches what the last day's answers took, and says once when a threshold is broken."""

from __future__ import annotations

import asyncio
import time

from backends.config import Config
from backends.telemetry.alerts import Alert, alerts
from backends.telemetry.statistics import summed
from tui.history import turn_table
from tui.history.history import History

WINDOW_S = 86_400.0


class AlertWatch:
    """Tells each alert once as long as it lasts."""

    def __init__(self, history: History, config: Config) -> None:
        self._history = history
        self._config = config
        self._told: set[str] = set()

    async def news(self) -> str:
        """A line on what is newly broken; empty where nothing is."""
        broken = await asyncio.to_thread(self._broken)
        fresh = [alert for alert in broken if alert.name not in self._told]
        self._told = {alert.name for alert in broken}
        return f"{' · '.join(map(str, fresh))} in the last day: F9 tells more" if fresh else ""

    def _broken(self) -> tuple[Alert, ...]:
        since = time.time() - WINDOW_S
        cells = self._history.read(lambda connection: turn_table.cells(connection, self._config.budget, since))
        return alerts(summed("all", cells))
