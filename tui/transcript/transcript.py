"""The conversation as one widget: what it holds, its sources, and what can be copied with a key."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count
from typing import Any, ClassVar

from textual import events
from textual.actions import SkipAction
from textual.binding import Binding, BindingType
from textual.message import Message

from backends.events import Citation
from tui.markdown.parser import parser
from tui.markdown.warm_up import warm_up
from tui.transcript.chat_palette import PALETTE_CSS, ChatPalette, component_class
from tui.transcript.message_head import Kind, Version
from tui.transcript.message_stack import Spot
from tui.transcript.message_tail import Ending
from tui.transcript.message_view import Edge, MessageView, Note
from tui.transcript.searchable_lines import SearchableLines
from tui.transcript.selectable_lines import Whole


class Transcript(SearchableLines, can_focus=True):
    """Messages by key, in the order they were added. All texts may be untrusted."""

    ALLOW_SELECT = False
    FOCUS_ON_CLICK = False  # its letters are commands: only who goes there with Tab, and is told, may lose one of them
    COMPONENT_CLASSES: ClassVar[set[str]] = {component_class(role) for role in ChatPalette.roles()}
    BINDINGS: ClassVar[list[BindingType]] = [  # letters come before the screen, which gives them to the composer
        Binding("home,ctrl+home", "scroll_home", "First", show=False),
        Binding("end,ctrl+end", "scroll_end", "Latest", show=False),
        Binding("left", "chip(-1)", "Previous source", show=False),
        Binding("right", "chip(1)", "Next source", show=False),
        Binding("enter", "open_chip", "Read source", show=False),
        Binding("y", "copy_answer", "Copy answer", show=False, priority=True),
        Binding("left_square_bracket", "choose('message', -1)", "Message before", show=False, priority=True),
        Binding("right_square_bracket", "choose('message', 1)", "Message after", show=False, priority=True),
        Binding("left_curly_bracket", "choose('code', -1)", "Code before", show=False, priority=True),
        Binding("right_curly_bracket", "choose('code', 1)", "Code after", show=False, priority=True),
        Binding("less_than_sign", "screen.sibling(-1)", "Version before", show=False, priority=True),
        Binding("greater_than_sign", "screen.sibling(1)", "Version after", show=False, priority=True),
        Binding("e", "screen.edit", "Edit question", show=False, priority=True),
        Binding("slash", "screen.find", "Search", show=False, priority=True),
        Binding("n", "search_step(1)", "Next match", show=False, priority=True),
        Binding("N", "search_step(-1)", "Previous match", show=False, priority=True),
    ]
    DEFAULT_CSS = (
        """
    Transcript {
        background: $background;
        color: $foreground;
        overflow-x: hidden;
        overflow-y: scroll;
        scrollbar-size-vertical: 1;
        scrollbar-background: $background;
        scrollbar-background-hover: $background;
        scrollbar-background-active: $background;
        scrollbar-color: $foreground 20%;
        scrollbar-color-hover: $foreground 35%;
        scrollbar-color-active: $primary;

    }
    """
        + PALETTE_CSS
    )

    @dataclass
    class Following(Message):
        """The reader left the end, or came back to it."""

        following: bool

    @dataclass
    class CitationSelected(Message):
        """A source was chosen, in the text or in the line under an answer."""

        citation: Citation

    @dataclass
    class SiblingWanted(Message):
        """The version before (-1) or after (1) of a message was asked for with the mouse."""

        key: str
        step: int

    def __init__(self, *, fps: float = 25.0, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(fps=fps, id=id, classes=classes)
        self._numbers = count(1)
        self._brought = ""  # the key of the message that was brought somewhere last

    def on_mount(self) -> None:
        """Behind the first picture."""
        self.call_after_refresh(self.run_worker, self._warm_up, group="warm-up")

    async def _warm_up(self) -> None:
        """What a first answer needs, loaded while there is none."""
        await asyncio.to_thread(warm_up)
        parser()
        for view in self._messages:  # drawn without colours, so as to be there sooner
            view.drop(range(0))
        self.refresh()

    # Content

    def add(self, kind: Kind, text: str = "", *, key: str | None = None, title: str = "") -> str:
        """Adds a message at the end and returns its key (a new one when none is given).

        An assistant message without text is taken to be streaming: end it with `finish`.
        """
        key = key or f"message-{next(self._numbers)}"
        view = MessageView(key, kind, title)
        view.streaming = kind == "assistant" and not text
        if view.streaming:
            view.append("")
        else:
            view.put(text)
        self._messages.add(view)
        self._schedule()
        return key

    def append(self, key: str, text: str) -> None:
        """Adds streamed text to a message; it is drawn with the next frame. A finished message goes on."""
        view = self._messages[key]
        view.append(text)
        self._change_text(view, first=not view.has_text)

    def append_reasoning(self, key: str, text: str) -> None:
        """Adds thinking text, shown above the answer until that begins, then folded into one line."""
        view = self._messages[key]
        first = not view.has_thought
        view.append_reasoning(text)
        self._change_text(view, first=first)

    def replace(self, key: str, text: str) -> None:
        """Puts `text` in place of a message's text."""
        view = self._messages[key]
        view.replace(text)
        self._change(view)

    def set_waiting(self, key: str, text: str | None) -> None:
        """Shows what an answer waits for, with a moving indicator; None removes it."""
        self._set(key, waiting=text)

    def finish(self, key: str, ending: Ending) -> None:
        """The message is over: its text is parsed for good, and any ending but "complete" gets a mark."""
        view = self._messages[key]
        view.finish(ending)
        self._change(view)

    def set_note(self, key: str, text: Note) -> None:
        """Shows a dim line under a message, which may be made when it is first drawn; None removes it."""
        self._set(key, note=text)

    def set_citations(self, key: str, citations: Iterable[Citation]) -> None:
        """Shows the sources of an answer under it."""
        self._set(key, citations=tuple(citations), selected_chip=None)

    def set_version(self, key: str, version: Version | None) -> None:
        """Shows that a message is one of several versions."""
        self._set(key, version=version)

    def text(self, key: str) -> str:
        """A message's source text, without control characters."""
        return self._messages[key].source

    def remove_message(self, key: str) -> None:
        """Takes a message away."""
        self._messages.remove(key)
        self._schedule()

    def cut(self, key: str) -> None:
        """Takes a message and all below it away."""
        self._messages.cut(key)
        self._schedule()

    def holds(self, key: str) -> bool:
        """Whether there is a message with this key."""
        return key in self._messages

    def clear(self) -> None:
        """Takes all messages away."""
        self._messages.clear()
        self.following = True
        self._schedule()

    def _set(self, key: str, **fields: Any) -> None:
        view = self._messages[key]
        if all(getattr(view, name) == value for name, value in fields.items()):
            return
        for name, value in fields.items():
            setattr(view, name, value)
        self._change(view)

    # Reading

    def watch_following(self, following: bool) -> None:
        """Tells the app, too."""
        super().watch_following(following)
        self.post_message(self.Following(following))

    # Messages

    def row_of(self, key: str) -> int:
        """The row of the screen that a message begins in; it may be outside."""
        return self._messages.top(self._messages[key]) - self.scroll_offset.y

    def bring(self, key: str, row: int) -> None:
        """Scrolls so that a message begins in `row` of the screen, as far as that can be."""
        self._brought = key
        row = max(0, min(row, self.size.height - 2))
        self.show_spot(Spot(key, Edge(0)), row)

    @property
    def chosen_message(self) -> str | None:
        """The key of the message that was chosen with `choose`."""
        view = self.walked_view
        return None if view is None else view.key

    @property
    def versioned_message(self) -> str | None:
        """The message with several versions that a key means: the chosen one, the one that was browsed last, else the
        last one on the screen, else the last one of all; None when there is none."""
        if (chosen := self.walked_view) is not None:
            return chosen.key if chosen.version else None
        bottom = self.scroll_offset.y + self.size.height
        found = [view for view in reversed(self._messages) if view.version is not None]
        shown = [view.key for view in found if self.scroll_offset.y <= self._messages.top(view) < bottom]
        if self._brought in shown:
            return self._brought
        return next(iter([*shown, *(view.key for view in found)]), None)

    # Sources

    def on_click(self, event: events.Click) -> None:
        """A citation opens, a folded thought unfolds, the marker leads to the end."""
        if not self.following and event.y == self.size.height - 1:
            self.action_scroll_end()
            return
        if self.select_by_click(event):
            return
        meta = event.style.meta
        found = self._messages.find(self.scroll_offset.y + event.y)
        if found is None:
            return
        view = found[0]
        if (mark := meta.get("citation")) is not None:
            known = next((citation for citation in view.citations if citation.id == mark), None)
            if known is not None:
                self.post_message(self.CitationSelected(known))
        elif "sibling" in meta:
            self.post_message(self.SiblingWanted(view.key, meta["sibling"]))
        elif "reasoning" in meta:
            self._set(view.key, reasoning_open=not view.reasoning_open)

    def _cited_view(self) -> MessageView | None:
        return next((view for view in reversed(self._messages) if view.citations), None)

    def action_chip(self, step: int) -> None:
        """Moves the choice among the sources of the last answer that has any."""
        view = self._cited_view()
        if view is not None:
            at = view.selected_chip
            chosen = (0 if step > 0 else -1) if at is None else at + step
            self._set(view.key, selected_chip=chosen % len(view.citations))

    def action_open_chip(self) -> None:
        """Opens the chosen source, the first one when none is chosen."""
        view = self._cited_view()
        if view is not None:
            self.post_message(self.CitationSelected(view.citations[view.selected_chip or 0]))

    # Copying

    def copy_answer(self) -> bool:
        """Copies the source text of the last answer; False when there is none."""
        answers = (view.source for view in reversed(self._messages) if view.kind == "assistant")
        text = next((source for source in answers if source.strip()), None)
        if text is not None:
            self.app.copy_to_clipboard(text)
        return text is not None

    def action_copy_answer(self) -> None:
        """Copies what is selected, else the last answer."""
        if self.has_selection:
            self.action_copy_selection()
        else:
            self.copy_answer()

    def action_choose(self, what: Whole, step: int) -> None:
        """Goes to the message or block of code before or after, for `y` to copy it."""
        self.choose(what, step)

    def action_copy_selection(self) -> None:
        """Copies what is selected, which then is so no longer: the next Ctrl+C cancels again."""
        if not (text := self.selected_text):
            raise SkipAction
        self.app.copy_to_clipboard(text)
        self.deselect()

    def action_search_step(self, by: int) -> None:
        """Goes to the next match, or the one before; without a search the key is for something else."""
        if not self.searching:
            raise SkipAction
        self.search_step(by)
