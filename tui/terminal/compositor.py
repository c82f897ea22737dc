"""Textual's compositor, but for what it draws in vain."""

from __future__ import annotations

from collections.abc import Iterable

from textual._compositor import Compositor
from textual.geometry import Region
from textual.strip import Strip


class CroppedCompositor(Compositor):
    """Has only those lines of those widgets drawn that are about to be painted.

    Textual's own has every widget drawn whole whose container reaches into what is painted, so that a blinking cursor
    costs as much as a full screen.
    """

    def _get_renders(self, crop: Region | None = None) -> Iterable[tuple[Region, Region, list[Strip]]]:
        """Textual's hook: where each widget is drawn, and its lines there."""
        if crop is None:
            yield from super()._get_renders()
            return
        for widget, (region, clip) in self.visible_widgets.items():
            part = region.intersection(clip)
            if part.overlaps(crop):
                rows = part.intersection(Region(part.x, crop.y, part.width, crop.height))
                yield rows, rows, widget.render_lines(rows.translate((-region.x, -region.y)))
