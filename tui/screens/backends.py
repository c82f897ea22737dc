"""The list of configured backends and of the models they offer, to go on with another one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

import msgspec
from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from backends.errors import BackendError
from tui.widgets.plain import plain
from tui.widgets.waterfall import QUIET
from tui.widgets.wording import backend_words

ListModels = Callable[[str], Awaitable[tuple[str, ...]]]
"""The models that the backend of a name lists now. Raises BackendError."""


class Choice(msgspec.Struct, frozen=True):
    """A backend; `model` is "" where it shall answer with the one that is configured."""

    backend: str
    model: str = ""


class _Rows(OptionList):
    """Passes the right arrow on, in its turn among the other keys."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("right", "screen.models", "Models", show=False)]


class BackendsScreen(ModalScreen[Choice | None]):
    """Gives what was chosen, or None. The models of the backend in use are listed at once, others' when asked for."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,f4,ctrl+b", "dismiss(None)", "Close", show=False)]

    def __init__(
        self, backends: dict[str, dict[str, Any]], current: Choice, list_models: ListModels | None = None
    ) -> None:
        super().__init__()
        self._backends = backends
        self._current = current
        self._list_models = list_models
        self._models: dict[str, tuple[str, ...]] = {}
        self._problems: dict[str, str] = {}
        self._rows: list[Choice | None] = []

    def compose(self) -> ComposeResult:
        """Textual's hook."""
        with Vertical(classes="sheet", id="backends") as sheet:
            sheet.border_title = "Switch the backend"
            models = "→ its models · " if self._list_models else ""
            sheet.border_subtitle = f"Enter uses it · {models}Esc closes"
            yield _Rows()

    def on_mount(self) -> None:
        """Textual's hook."""
        self._show(Choice(self._current.backend))
        self._ask(self._current.backend)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Textual's hook."""
        self.dismiss(self._rows[event.option_index])

    def action_models(self) -> None:
        """Right: the models of the highlighted backend."""
        if (chosen := self._highlighted) is not None:
            self._ask(chosen.backend)

    @property
    def _highlighted(self) -> Choice | None:
        at = self.query_one(OptionList).highlighted
        return None if at is None else self._rows[at]

    @work(group="models")
    async def _ask(self, name: str) -> None:
        if self._list_models is None or name in self._models or name not in self._backends:
            return
        self._models[name] = ()
        try:
            self._models[name] = await self._list_models(name)
        except BackendError as error:
            self._problems[name] = error.message
        highlighted = self._highlighted
        self._show(highlighted)
        if highlighted is not None and highlighted.backend == name:  # what was asked for is in sight
            self.call_after_refresh(self.query_one(OptionList).scroll_to_highlight, top=True)

    def _show(self, highlighted: Choice | None) -> None:
        """All rows, with `highlighted` where it was."""
        self._rows = []
        options: list[Option] = []
        for name in dict.fromkeys([*self._backends, self._current.backend]):
            self._rows.append(Choice(name))
            options.append(Option(self._line(name)))
            for model in self._models.get(name, ()):
                self._rows.append(Choice(name, model))
                mark = "● " if self._rows[-1] == self._current else "  "
                options.append(Option(Text.assemble("    ", mark, plain(model), no_wrap=True)))
            if name in self._problems:
                self._rows.append(None)
                options.append(Option(Text(f"    {plain(self._problems[name])}", QUIET, no_wrap=True), disabled=True))
        rows = self.query_one(OptionList)
        rows.clear_options()
        rows.add_options(options)
        rows.highlighted = self._rows.index(highlighted) if highlighted in self._rows else 0

    def _line(self, name: str) -> Text:
        about = backend_words(self._backends.get(name, {}))
        line = Text.assemble(("● " if name == self._current.backend else "  ", "bold"), (plain(name), "bold"))
        line.append(f"  {about}", QUIET)
        line.no_wrap = True
        return line
