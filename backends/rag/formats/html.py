"""HTML: what a reader of the page sees, by its headings; scripts, styles and navigation are left out.

Read by the standard library's parser, which builds no tree: neither depth nor broken nesting can exhaust anything.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser

from backends.rag.sections import Outline, Section, Unreadable, decoded, flat, item, title_from_name

_HIDDEN = frozenset({"script", "style", "template", "noscript", "nav", "footer", "svg", "iframe", "select", "button"})
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_BLOCKS = frozenset(_HEADINGS) | frozenset(
    re.findall(
        r"\w+",
        "address article aside blockquote body br caption dd details div dl dt fieldset figcaption figure form head"
        " header hr html li main ol p pre section summary table tbody td tfoot th thead title tr ul",
    )
)
_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w.:-]{1,40})", re.IGNORECASE)


def sections(data: bytes, name: str) -> list[Section]:
    """The sections of a page, titled by its ``<title>``, else its first ``<h1>``, else `name`. Raises Unreadable."""
    reader = _Reader()
    reader.feed(_text(data))
    reader.close()
    reader.flush()
    title = reader.title or next((text for level, text, _ in reader.blocks if level == 1), "")
    outline = Outline(title or title_from_name(name))
    for level, content, line in reader.blocks:
        if level > 0:
            outline.heading(level, content)
        else:
            outline.add(content, line, line)
    return outline.sections


def _text(data: bytes) -> str:
    """The page's characters: UTF-8, or what the page says it is. Raises Unreadable."""
    found = _CHARSET.search(data, 0, 4096)
    if found is None or data.startswith(b"\xef\xbb\xbf"):
        return decoded(data)
    encoding = found[1].decode("ascii", "replace")
    try:
        return data.decode(encoding)
    except (LookupError, UnicodeDecodeError) as error:
        raise Unreadable(f"it says that it is {encoding}, and is not: {error}") from error


class _Reader(HTMLParser):
    """Collects (level of a heading or 0, text, line) of every block."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.title = ""
        self.blocks: list[tuple[int, str, int]] = []
        self._text: list[str] = []
        self._line = 1
        self._open = ""  # the block element that the text is in
        self._hidden: list[str] = []
        self._row: list[str] | None = None
        self._header: list[str] = []
        self._is_header = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _HIDDEN or (self._hidden and tag == self._hidden[-1]):
            self._hidden.append(tag)
        elif self._hidden:
            return
        elif tag == "img":
            self._text.append(dict(attrs).get("alt") or "")
        elif tag in _BLOCKS:
            self.flush()
            self._open, self._line = tag, self.getpos()[0]
            if tag in ("table", "tr"):
                self._end_row()  # its end tag may be left out
            if tag == "table":
                self._header = []
            elif tag == "tr":
                self._row, self._is_header = [], False
            elif tag == "th":
                self._is_header = True

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _HIDDEN:
            self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._hidden:  # whatever was left open inside ends with it
            del self._hidden[self._hidden.index(tag) :]
        elif tag in _BLOCKS and not self._hidden:
            self.flush()
            self._open = ""
            if tag in ("tr", "table"):
                self._end_row()

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self._text.append(data)

    def flush(self) -> None:
        """The text so far is a block."""
        text, self._text = flat("".join(self._text)), []
        if self._open == "title":
            self.title = self.title or text
        elif self._open in ("td", "th") and self._row is not None:
            self._row.append(text)
            self._open = ""
        elif text:
            level = _HEADINGS.get(self._open, 0)
            self.blocks.append((level, item(text) if self._open in ("li", "dd") else text, self._line))

    def _end_row(self) -> None:
        cells, self._row = self._row, None
        if cells is None:
            return
        if self._is_header and not self._header:
            self._header = cells
            return
        heads = [*self._header, *[""] * (len(cells) - len(self._header))]
        named = [f"{head}: {cell}" if head else cell for head, cell in zip(heads, cells, strict=False) if cell]
        if named:
            self.blocks.append((0, ", ".join(named) + ";", self._line))
