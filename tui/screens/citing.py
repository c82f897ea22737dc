"""A conversation whose answers have sources, to be read over it."""

from __future__ import annotations

from textual import on

from tui.history.conversation import Turn
from tui.screens.branches import BranchingScreen
from tui.transcript.transcript import Transcript


class CitingScreen(BranchingScreen):
    """A screen around answers with passages behind them."""

    def action_sources(self) -> None:
        """F3: the passages of the newest answer that has any."""
        for turn in reversed(self._conversation.turns):
            if turn.role == "assistant" and self._open_sources(turn):
                return
        self._say("no sources: this conversation has used no documents")

    @on(Transcript.CitationSelected)
    def _citation_selected(self, event: Transcript.CitationSelected) -> None:
        for turn in reversed(self._conversation.turns):
            if event.citation in turn.citations:
                self._open_sources(turn, event.citation.id)
                return

    def _open_sources(self, turn: Turn, selected: str = "") -> bool:
        found = next((asked.sources for asked in self._conversation.turns if asked.id == turn.parent), ())
        if not turn.citations and not found:
            return False
        from tui.screens.sources import SourcesScreen

        self.app.push_screen(SourcesScreen(turn.citations, found, selected))
        return True
