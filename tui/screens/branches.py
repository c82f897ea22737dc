"""A conversation as a tree: asking an earlier question in other words, and going from one version to another."""

from __future__ import annotations

from tui.history.conversation import Conversation, Turn
from tui.screens.answer_view import TranscriptView, message_key
from tui.screens.reading import ReadingScreen
from tui.transcript.transcript import Transcript
from tui.widgets.composer import Composer


class BranchingScreen(ReadingScreen):
    """A screen around one path of a conversation; nothing that was on another path is lost."""

    _conversation: Conversation
    _view: TranscriptView

    def __init__(self, transcript: Transcript) -> None:
        super().__init__(transcript)
        self._edited: Turn | None = None
        self._draft = ""  # what stood in the composer before the question that is edited

    def _busy(self) -> bool:
        """Whether an answer streams; says so."""
        raise NotImplementedError

    def _update(self) -> None:
        """Bring what depends on the newest answer up to date."""
        raise NotImplementedError

    # -- editing -----------------------------------------------------------------------------------------------------

    def action_edit(self) -> None:
        """F8, or e in the transcript: the chosen question, else the newest, once more: the one before."""
        questions = [turn for turn in self._conversation.turns if turn.role == "user"]
        if not questions:
            self._say("nothing to edit: ask something first")
            return
        chosen = self._transcript.chosen_message
        at = next((at for at, turn in enumerate(questions) if message_key(turn) == chosen), len(questions) - 1)
        if chosen is None and self._edited in questions:
            at = questions.index(self._edited) - 1
        self._edit(questions[at])

    def _edit(self, question: Turn) -> None:
        composer = self.query_one(Composer)
        if self._edited is None:
            self._draft = composer.text
        self._edited = question
        composer.text = question.content
        composer.move_cursor(composer.document.end)
        composer.border_title = "Edit · Enter asks it anew, Esc leaves it as it was"
        composer.focus()
        self._transcript.deselect()
        self._transcript.bring(message_key(question), 0)

    def _stop_editing(self) -> Turn | None:
        """Give the composer back what stood there; the question that was edited."""
        edited, self._edited = self._edited, None
        if edited is not None:
            composer = self.query_one(Composer)
            composer.border_title = ""
            composer.put_back(self._draft)
            self._draft = ""
        return edited

    def _leave_for_edited(self) -> None:
        """If a question was edited: leave the path there, for what is asked now to stand in its place."""
        if (edited := self._stop_editing()) is not None and edited in self._conversation.turns:
            self._view.cut(edited)
            self._conversation.rewind(edited)
            self._transcript.action_scroll_end()

    def action_let_go(self) -> None:
        """Esc: of what is selected or searched, else of the question that is edited."""
        if self._edited is None or self._transcript.has_selection or self._transcript.searching:
            super().action_let_go()
        else:
            self._stop_editing()

    # -- versions ----------------------------------------------------------------------------------------------------

    def action_sibling(self, step: int) -> None:
        """Alt+Left and Alt+Right, or < and > in the transcript: another version of a message, and what followed it."""
        key = self._transcript.versioned_message
        if key is None:
            self._say("there is only one version: Ctrl+R answers again, F8 edits a question")
        else:
            self._browse(key, step)

    def on_transcript_sibling_wanted(self, event: Transcript.SiblingWanted) -> None:
        """Textual's hook."""
        self._browse(event.key, event.step)

    def _browse(self, key: str, step: int) -> None:
        turns = self._conversation.turns
        at = next((at for at, turn in enumerate(turns) if message_key(turn) == key), None)
        if at is None or self._busy():
            return
        turn = turns[at]
        wanted = turn.siblings.index(turn.id) + step
        if not 0 <= wanted < len(turn.siblings):
            self._say("this is the oldest version" if step < 0 else "this is the newest version")
            return
        self._stop_editing()
        row = self._transcript.row_of(key)
        self._view.cut(turn)
        self._conversation.choose(turn, turn.siblings[wanted])
        for turn in self._conversation.turns[at:]:
            self._view.show(turn)
        self._transcript.bring(message_key(self._conversation.turns[at]), row)
        self._update()
