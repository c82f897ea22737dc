"""The styles of the conversation: Markdown's and those of what stands around it, and their default colours.

Each role is a component class of the transcript (``transcript--user-bar`` for `user_bar`), so a theme's variables
and an app's own rules reach it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.style import Style
from textual.widget import Widget

from tui.markdown.palette import Palette


@dataclass(frozen=True)
class ChatPalette(Palette):
    """Markdown's styles and those of what stands around it."""

    title: Style
    user: Style
    user_bar: Style
    error: Style
    error_bar: Style
    error_title: Style
    notice: Style
    reasoning: Style
    waiting: Style
    skeleton: Style
    skeleton_lit: Style
    ending: Style
    note: Style
    chip: Style
    chip_selected: Style
    cursor: Style
    marker: Style
    selection: Style
    match: Style
    match_chosen: Style

    @property
    def has_terminal_colours(self) -> bool:
        """Whether any colour is one that every terminal has its own idea of, or to be dimmed."""
        styles = [getattr(self, role) for role in self.roles()]
        colours = [colour for style in styles for colour in (style.color, style.bgcolor) if colour is not None]
        return any(colour.triplet is None for colour in colours) or any(style.dim for style in styles)


PALETTE_CSS = """
Transcript .transcript--text { color: $foreground; }
Transcript .transcript--muted { color: $foreground 60%; }
Transcript .transcript--heading1 { color: $text-primary; text-style: bold underline; }
Transcript .transcript--heading2 { color: $text-primary; text-style: bold; }
Transcript .transcript--heading3 { color: $foreground; text-style: bold; }
Transcript .transcript--link { color: $text-primary; text-style: underline; }
Transcript .transcript--citation { color: $text-accent; }
Transcript .transcript--code { color: $text-warning; background: $surface; }
Transcript .transcript--bullet { color: $text-primary; }
Transcript .transcript--rule { color: $foreground 25%; }
Transcript .transcript--quote { color: $foreground 75%; }
Transcript .transcript--quote-bar { color: $foreground 35%; }
Transcript .transcript--fence { color: $foreground; background: $surface; }
Transcript .transcript--fence-label { color: $foreground 50%; background: $surface; }
Transcript .transcript--keyword { color: $text-primary; background: $surface; }
Transcript .transcript--name { color: $foreground; background: $surface; text-style: bold; }
Transcript .transcript--string { color: $text-success; background: $surface; }
Transcript .transcript--number { color: $text-warning; background: $surface; }
Transcript .transcript--comment { color: $foreground 50%; background: $surface; text-style: italic; }
Transcript .transcript--title { color: $foreground 50%; }
Transcript .transcript--user { color: $foreground; background: $surface; }
Transcript .transcript--user-bar { color: $primary; background: $surface; }
Transcript .transcript--error { color: $foreground; }
Transcript .transcript--error-bar { color: $error; }
Transcript .transcript--error-title { color: $text-error; text-style: bold; }
Transcript .transcript--notice { color: $foreground 60%; }
Transcript .transcript--reasoning { color: $foreground 50%; text-style: italic; }
Transcript .transcript--waiting { color: $foreground 60%; }
Transcript .transcript--skeleton { color: $foreground 12%; }
Transcript .transcript--skeleton-lit { color: $foreground 25%; }
Transcript .transcript--ending { color: $text-warning; }
Transcript .transcript--note { color: $foreground 50%; }
Transcript .transcript--chip { color: $text-accent; }
Transcript .transcript--chip-selected { color: $text-accent; text-style: reverse; }
Transcript .transcript--cursor { color: $primary; }
Transcript .transcript--marker { color: $background; background: $primary; text-style: bold; }
Transcript .transcript--selection { background: $primary 40%; }
Transcript .transcript--match { background: $warning 30%; }
Transcript .transcript--match-chosen { color: $background; background: $warning; }
"""


def component_class(role: str) -> str:
    """The component class of a role."""
    return f"transcript--{role.replace('_', '-')}"


def chat_palette(widget: Widget) -> ChatPalette:
    """The styles as `widget`, which has the component classes, gets them from the theme now."""
    return ChatPalette(**{role: _style(widget, role) for role in ChatPalette.roles()})


def _style(widget: Widget, role: str) -> Style:
    """A component's style without the attributes that are off, so that styles can be laid over each other."""
    style = widget.get_component_rich_style(component_class(role))
    flags: dict[str, Any] = {
        flag: True for flag in ("bold", "italic", "underline", "strike", "reverse", "dim") if getattr(style, flag)
    }
    return Style(color=style.color, bgcolor=style.bgcolor, **flags)
