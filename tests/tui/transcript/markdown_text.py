"""Hypothesis strategies for Markdown texts, and plain reference drawings of them."""

from __future__ import annotations

from hypothesis import strategies as st
from rich.style import Style

from tui.markdown.document import Document
from tui.markdown.palette import Palette

PLAIN = Palette(**{role: Style(color=f"color({index})") for index, role in enumerate(Palette.roles(), 16)})
"""One colour per role, so that a wrong role is a difference."""

_LINES = (
    "", "", "", " ", "# Title", "#", "## Two ##", "text", "more *text* here", "**bold** and `code`", "**open", "`open",
    "- item", "- ", "* other", "  - nested", "    deep", "1. one", "2. two", "10) ten", "- [ ] task", "- [x] done",
    "> quote", ">", "> - in quote", "lazy", "---", "===", "***", "```", "```python", "~~~", "````", "  ```",
    "def f(): pass",
    "| a | b |", "|---|--:|", "| 1 | 2 |", "a | b", "-|-", "[ref]: http://x.org", "[ref]: http://y.org 'title'",
    "[ref]",
    "[foo]: /u \"tit", "le\"", "[foo]", "[foo]:", "see [S1] and [S1, S2]", "<div>", "</div>", "<!-- c", "-->", "\tcode",
    "    indented", "a  ", "b\\", "https://x.org/a_b.", "![i](u)",
    "[l](http://x.org)", "[l](javascript:x)", "你好，世界",
    "&amp; &#27; &#x202e;",
    "$a_1 * b_2$", "~~gone~~",
)  # fmt: skip

texts = st.lists(st.sampled_from(_LINES), max_size=24).map("\n".join)


@st.composite
def chunked(draw: st.DrawFn, source: st.SearchStrategy[str] = texts) -> list[str]:
    """A text cut at random places."""
    text = draw(source)
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=12)))
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def lines_of(document: Document, width: int) -> list[list[tuple[str, Style | None]]]:
    """The document's lines as (text, style) pairs, neighbours of one style joined."""
    document.draw(width, PLAIN)
    return [[(segment.text, segment.style) for segment in document[row].simplify()] for row in range(document.height)]
