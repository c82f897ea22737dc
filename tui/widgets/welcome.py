"""What the empty chat says: which backend answers, what to ask it, and how to bring one's own model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.message import Message
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from tui.widgets.plain import plain
from tui.widgets.waterfall import QUIET
from tui.widgets.wording import backend_words

DEMO_QUESTIONS = (
    "Can I pause my annual subscription?",
    "How long do refunds take?",
    "Walk me through changing the payment card, step by step.",
)
GENERAL_QUESTIONS = (
    "Explain prefix caching in three sentences.",
    "Write a limerick about latency.",
    "Compare TCP and QUIC in a table.",
)


def is_demo(table: dict[str, Any]) -> bool:
    """Whether a ``[backends.NAME]`` table means the embedded demo model."""
    return table.get("type") == "local" and not table.get("model")


def sample_questions(table: dict[str, Any]) -> Sequence[str]:
    """Three questions that the backend of `table` can do something with."""
    return DEMO_QUESTIONS if is_demo(table) else GENERAL_QUESTIONS


def about(table: dict[str, Any], config_path: Path) -> str:
    """What to know about the backend, plainly; empty for one that the user brought."""
    if not is_demo(table):
        return ""
    return (
        "This is a small demo model that knows the sample billing documents. To use your own: "
        f'llmchat --url URL --model M, or set model = "/path/model.gguf" in {config_path}'
    )


class Welcome(VerticalScroll, can_focus=False):
    """Shown in the transcript's place until something was asked."""

    class Asked(Message):
        """A sample question was chosen."""

        def __init__(self, question: str) -> None:
            super().__init__()
            self.question = question

    def __init__(self, name: str, table: dict[str, Any], config_path: Path, id: str | None = None) -> None:
        super().__init__(id=id)
        self._config_path = config_path
        self._backend, self._table = name, table

    def compose(self) -> ComposeResult:
        """Textual's hook."""
        yield Static(id="welcome-title")
        yield Static(id="welcome-about", markup=False)
        yield Static("Try", id="welcome-try")
        yield OptionList(id="welcome-questions", compact=True)
        yield Static(_keys(), id="welcome-keys")

    def on_mount(self) -> None:
        """Textual's hook."""
        self.show_backend(self._backend, self._table)

    def show_backend(self, name: str, table: dict[str, Any]) -> None:
        """Speak of the backend `name`."""
        title = Text.assemble(("llmchat", "bold"), ("  see where an answer's time goes", QUIET), "\n\n")
        title.append_text(Text.assemble("You are talking to ", (plain(name), "bold")))
        title.append(f"  {backend_words(table)}", QUIET)
        self.query_one("#welcome-title", Static).update(title)
        words = self.query_one("#welcome-about", Static)
        words.update(about(table, self._config_path))
        words.display = is_demo(table)
        questions = self.query_one(OptionList)
        questions.clear_options()
        for question in sample_questions(table):
            questions.add_option(Option(Text.assemble(("› ", QUIET), question), id=question))
        questions.highlighted = None

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Textual's hook."""
        event.stop()
        self.post_message(self.Asked(str(event.option_id)))


def _keys() -> Text:
    keys = (("Enter", "send"), ("Tab", "choose one"), ("Esc", "cancel an answer"), ("F1", "help"))
    line = Text()
    for key, what in keys:
        line.append(f"{key} ", "bold")
        line.append(f"{what}   ", QUIET)
    return line
