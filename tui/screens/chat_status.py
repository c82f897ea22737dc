"""What the status line says in each situation. Pure."""

from __future__ import annotations

from backends.events import Status
from backends.telemetry.explain import duration
from backends.telemetry.summary import summarize
from tui.connection import State
from tui.history.conversation import CONTINUABLE, Turn
from tui.widgets.status_line import StatusInfo
from tui.widgets.wording import Tone, describe, doing

Hints = tuple[tuple[str, str], ...]

_ALWAYS: Hints = (("F1", "help"), ("Ctrl+P", "commands"), ("F2", "panel"), ("F4", "backend"), ("Ctrl+Q", "quit"))
_READING: Hints = (("Tab", "prompt"), ("/", "search"), ("[ ]", "message"), ("{ }", "code"), ("y", "copy"))
"""What the letters do while the transcript has the focus."""
_CONNECTION: dict[State, tuple[str, Tone]] = {
    "opening": ("opening", "busy"),
    "warming": ("connecting", "busy"),
    "loading": ("loading the model", "busy"),
    "ready": ("ready", "good"),
    "unreachable": ("not reached", "bad"),
    "failed": ("not available", "bad"),
}


def status_info(
    backend: str,
    state: State,
    answer: Turn | None,
    *,
    running: bool,
    status: Status | None,
    elapsed_ms: float,
    problem: str = "",
    loading: Status | None = None,
    remark: str = "",
    reading: bool = False,
    model: str = "",
) -> StatusInfo:
    """The line for a screen whose newest answer is `answer`; `status` is what it waits for while it runs.

    `problem`: why the backend is "unreachable"; `loading`: how far a model that loads is. `reading`: the transcript has
    the focus. `model`: the one that was chosen for this session.
    """
    model = model or (answer.model if answer is not None else "")
    letters = _letters(answer)
    if running and answer is not None:
        words = remark or _progress(answer, status, elapsed_ms)
        return StatusInfo(
            backend,
            model,
            words,
            "warn" if remark else "busy",
            (("Esc", "cancel"), *(letters if reading else _ALWAYS[:2])),
        )
    words, tone = _CONNECTION[state]
    if state == "loading" and loading is not None:
        words = describe(loading)
    elif state == "unreachable" and problem:
        words = problem
    if remark:
        words, tone = remark, "warn"
    if reading:
        return StatusInfo(backend, state=words, tone=tone, hints=letters)
    return StatusInfo(backend, model, words, tone, (*_offers(answer), *_ALWAYS))


def _letters(answer: Turn | None) -> Hints:
    """What the letters do now: with the backend's name and state they fit into 80 columns."""
    if answer is None or len(answer.siblings) < 2:
        return _READING
    return (*_READING[:3], ("< >", "version"), *_READING[4:])


def _progress(answer: Turn, status: Status | None, elapsed_ms: float) -> str:
    timeline = answer.timeline
    if timeline is not None and timeline.first_token_ms is not None:
        speed = summarize(timeline).tokens_per_second
        words = f"generating {speed:,.0f} tok/s" if speed else "generating"
        return f"{words} ({held})" if (held := doing(timeline)) else words
    waiting = describe(status) if status is not None else "waiting for the backend"
    return f"{waiting}  {duration(elapsed_ms)}"


def _offers(answer: Turn | None) -> Hints:
    """The keys that this very answer makes useful."""
    if answer is None:
        return ()
    if answer.content and answer.outcome in CONTINUABLE:
        return (("Ctrl+G", "continue"), ("Ctrl+R", "retry"))
    if answer.outcome != "complete":
        return (("Ctrl+R", "retry"),)
    offers: Hints = (("F3", "sources"),) if answer.citations else ()
    return (*offers, ("Alt+← →", "versions")) if len(answer.siblings) > 1 else offers
