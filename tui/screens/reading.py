"""Reading a conversation: scrolling, copying and searching it while something else may have the focus."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Literal

from textual import work
from textual.actions import SkipAction
from textual.screen import Screen

from tui import clipboard
from tui.terminal.compositor import CroppedCompositor
from tui.transcript.transcript import Transcript


class ReadingScreen(Screen[None]):
    """A screen around a transcript."""

    def __init__(self, transcript: Transcript) -> None:
        super().__init__()
        self._compositor = CroppedCompositor()
        self._transcript = transcript

    def _say(self, remark: str) -> None:
        """Tell the reader something that passes."""
        raise NotImplementedError

    def action_scroll_transcript(self, where: Literal["page_up", "page_down", "home", "end"]) -> None:
        """PgUp, PgDn, Ctrl+Home, Ctrl+End: the composer keeps the focus."""
        getattr(self._transcript, f"action_{where}" if "page" in where else f"action_scroll_{where}")()

    # -- copying -----------------------------------------------------------------------------------------------------

    def action_copy(self, what: Literal["answer", "code", "message"]) -> None:
        """F5, F6, F7."""
        transcript = self._transcript
        if not (transcript.copy_answer() if what == "answer" else transcript.copy_next(what)):
            self._say(f"there is no {what} to copy yet")

    def get_selected_text(self) -> str | None:
        """Textual's hook. The transcript's selection is its own."""
        return self._transcript.selected_text or super().get_selected_text()

    def action_copy_text(self) -> None:
        """Ctrl+C, wherever the focus is; what was copied is selected no longer, so that the next one cancels."""
        super().action_copy_text()
        self._transcript.deselect()

    @work(group="copy", exclusive=True)
    async def copy(self, text: str, write: Callable[[str], object]) -> None:
        """Put `text` on the clipboard and say what came of it."""
        self._say(await clipboard.copy(text, write, os.environ))

    # -- searching ---------------------------------------------------------------------------------------------------

    async def action_find(self) -> None:
        """Ctrl+F, or / in the transcript: the search line, which is there only as long as it is needed."""
        from tui.widgets.search_line import SearchLine

        if not self._transcript.display:
            self._say("there is nothing to search yet")
        elif found := self.query(SearchLine):
            found.first().focus_query()
        else:
            await self.mount(SearchLine(self._transcript, self.focused), after=self._transcript)

    def action_let_go(self) -> None:
        """Esc, wherever the focus is: of the selection, else of the search."""
        if self._transcript.has_selection:
            self._transcript.deselect()
        elif self._transcript.searching:
            self.close_search()
        else:
            raise SkipAction

    def close_search(self) -> None:
        """Ends the search that is open."""
        from tui.widgets.search_line import SearchLine

        self.query_one(SearchLine).close()
