"""What a Markdown text is made of: blocks of text within quotes and list items.

Containers are not kept as a tree: each block knows the path of containers around it, so that a list of a thousand items
is a thousand blocks, each read, drawn and kept on its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["paragraph", "heading", "fence", "code", "table", "rule", "empty"]


@dataclass(eq=False)
class Quote:
    """A block quote."""


@dataclass(eq=False)
class Listing:
    """A list: what its markers look like, and whether its items stand apart."""

    mark: str
    """The bullet, or the character behind a number."""
    start: int | None
    """The first item's number, None for bullets."""
    first: int
    """How many blocks were settled when it began."""
    count: int = 0
    loose: bool = False


@dataclass(eq=False)
class Item:
    """A list's item."""

    listing: Listing
    width: int
    """Columns by which what belongs to it is indented."""
    number: int | None
    box: str = ""
    """``[ ]`` or ``[x]``, with its blank, for a task."""
    filled: bool = False
    """Whether anything began in it."""
    dead: bool = False
    """Whether it began with two blank lines, after which nothing can belong to it."""
    lead: Block | None = None
    """The block that stands beside its marker, once that is settled."""


Container = Quote | Item


@dataclass(eq=False)
class Block:
    """A block of text: its lines without the containers' marks, and without its own."""

    kind: Kind
    path: tuple[Container, ...]
    lines: list[str] = field(default_factory=list)
    level: int = 0
    """Of a heading."""
    info: str = ""
    """A fence's language and what follows it."""
    fence: str = ""
    """The marks that a fence began with."""
    indent: int = 0
    """Columns that a fence was indented."""
    align: tuple[str, ...] = ()
    """Of a table's columns: "left", "center" or "right". Its first line is the head."""
    offset: int = 0
    """Where in the text its first line begins, or one before that."""
    plain: bool = True
    """Whether a paragraph's last line may be a table's head: it stands where the paragraph belongs."""
    above: Block | None = None
    """Of a block that is only foreseen: the one above it, which is not settled yet."""

    @property
    def text(self) -> str:
        """Its lines as one text."""
        return "\n".join(self.lines)

    def leads(self, item: Item) -> bool:
        """Whether it stands beside the marker of `item`, one of its containers."""
        if item.lead is None:
            return self.above is None or item not in self.above.path
        return item.lead is self


def gap(above: Block, below: Block) -> tuple[int, int]:
    """Blank lines between two neighbours, and how many containers around both go on there."""
    shared = 0
    for one, other in zip(above.path, below.path, strict=False):
        if one is not other:
            if isinstance(one, Item) and isinstance(other, Item) and one.listing is other.listing:
                return int(one.listing.loose), shared
            break
        shared += 1
    holder = above.path[shared - 1] if shared else None
    return int(holder.listing.loose) if isinstance(holder, Item) else 1, shared
