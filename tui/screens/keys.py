"""Every key of the chat, in one table: the bindings, the help screen and the hints are made from it."""

from __future__ import annotations

from typing import Literal, NamedTuple

from textual.binding import Binding, BindingType


class Key(NamedTuple):
    """`keys` as Textual writes them (first one shown as `shown`), the screen's `action`, and what it does."""

    keys: str
    shown: str
    action: str
    what: str


CHAT_KEYS = (
    Key("f1", "F1", "help", "this help"),
    Key("f2", "F2", "cycle_panel", "latency panel: full, one line, off"),
    Key("f3,ctrl+o", "F3  Ctrl+O", "sources", "read the passages behind the answer"),
    Key("f4,ctrl+b", "F4  Ctrl+B", "backends", "switch the backend; the conversation goes on"),
    Key("pageup", "PgUp", "scroll_transcript('page_up')", "scroll the transcript up; with Ctrl+Home to its start"),
    Key("pagedown", "PgDn", "scroll_transcript('page_down')", "scroll it down; with Ctrl+End to the newest line"),
    Key("ctrl+g", "Ctrl+G", "continue_answer", "continue an answer that was cut"),
    Key("ctrl+r", "Ctrl+R", "retry", "answer the last question again; the old answer is kept"),
    Key("f8", "F8", "edit", "edit the last question and ask it anew; again: the one before"),
    Key("alt+left", "Alt+←  Alt+→", "sibling(-1)", "another version of an answer or question, and what followed it"),
    Key("f12,alt+c", "F12  Alt+C", "compare", "ask several backends at once, side by side"),
    Key("f9", "F9", "statistics", "what all answers took: percentiles, rates, the slowest"),
    Key("f10,ctrl+t", "F10  Ctrl+T", "conversations", "all conversations: search, open, rename, delete"),
    Key("ctrl+n", "Ctrl+N", "new_conversation", "new conversation"),
    Key("ctrl+f", "Ctrl+F", "find", "search the conversation; Enter or ↓: next, ↑: the one before, Esc: back"),
    Key("f5", "F5", "copy('answer')", "copy the last answer as it was written"),
    Key("f6", "F6", "copy('code')", "copy the newest code block; again: the one before"),
    Key("f7", "F7", "copy('message')", "copy the newest message; again: the one before"),
)

COPIES: tuple[tuple[str, Literal["answer", "code", "message"], str], ...] = (
    ("F5", "answer", "Put the last answer on the clipboard"),
    ("F6", "code", "Put the newest block of code on the clipboard; again: the one before it"),
    ("F7", "message", "Put the newest message on the clipboard; again: the one before it"),
)

OTHER_KEYS = (
    ("Enter", "send; twice while an answer runs: cancel it and send"),
    ("Shift+Enter  Ctrl+J", "a new line"),
    ("↑  ↓", "earlier questions, at the first and last line"),
    ("Tab", "to the transcript; there / n N search and step through what is found"),
    ("[  ]  {  }  y", "there, too: the message before, after; the code before, after; copy what is chosen"),
    ("<  >  e", "there, too: the version of a message before, after; edit the chosen question"),
    ("Mouse", "drag selects text, a double click a word, a triple click a line"),
    ("Ctrl+C", "copy what is selected; else cancel the answer"),
    ("Esc", "cancel the answer, always first; else let go of a selection, close what is open"),
    ("Ctrl+P", "all commands by name"),
    ("Ctrl+L", "draw the screen again, should anything else have written on it"),
    ("Ctrl+Q", "quit"),
)


def chat_bindings() -> list[BindingType]:
    """The bindings of the chat screen: before the composer's own, since that nearly always has the focus."""
    table = [(key.keys, key.action) for key in CHAT_KEYS]
    table += [("ctrl+home", "scroll_transcript('home')"), ("ctrl+end", "scroll_transcript('end')")]
    table.append(("alt+right", "sibling(1)"))
    bindings: list[BindingType] = [Binding(keys, action, show=False, priority=True) for keys, action in table]
    return [*bindings, Binding("escape", "let_go", show=False)]


def all_keys() -> list[tuple[str, str]]:
    """(key, what it does), for the help screen."""
    return [*OTHER_KEYS[:3], *((key.shown, key.what) for key in CHAT_KEYS), *OTHER_KEYS[3:]]
