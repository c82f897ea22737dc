"""The styles Markdown is drawn with: one value, made from the app's theme, compared to know when to draw again."""

from __future__ import annotations

from dataclasses import dataclass, fields

from rich.style import Style


@dataclass(frozen=True)
class Palette:
    """Complete rich styles (colour and background), one per role."""

    text: Style
    muted: Style
    heading1: Style
    heading2: Style
    heading3: Style
    link: Style
    citation: Style
    code: Style
    bullet: Style
    rule: Style
    quote: Style
    quote_bar: Style
    fence: Style
    fence_label: Style
    keyword: Style
    name: Style
    string: Style
    number: Style
    comment: Style

    @classmethod
    def roles(cls) -> tuple[str, ...]:
        """The role names in order."""
        return tuple(field.name for field in fields(cls))
