"""What each construct looks like."""

from __future__ import annotations

import pytest

from tests.tui.transcript.markdown_text import PLAIN
from tui.markdown.document import Document
from tui.markdown.text_strip import TextStrip

GOLDEN = {
    "headings": ("# One\n## Two\ntext", "One\n\nTwo\n\ntext"),
    "line breaks stay": ("Roses are red\nViolets are blue", "Roses are red\nViolets are blue"),
    "tight list": ("- a\n- b\n  - c\n    - d", " • a\n • b\n    ◦ c\n       ▪ d"),
    "loose list": ("1. a\n\n2. b\n\n   more", " 1. a\n\n 2. b\n\n    more"),
    "list from nine": ("9. a\n10. b", " 9. a\n10. b"),
    "tasks": ("- [ ] open\n- [x] done", " ☐ open\n ☑ done"),
    "quote": ("> one\n>\n> > two", "▎ one\n▎ \n▎ ▎ two"),
    "rule": ("a\n\n---\n\nb", "a\n\n" + "─" * 24 + "\n\nb"),
    "table": (
        "| a | long | n |\n|---|:-:|--:|\n| 1 | 2 | 3 |\n| x | y | 100 |",
        "a │ long │   n\n──┼──────┼────\n1 │  2   │   3\nx │  y   │ 100",
    ),
    "wide table": (
        "| a | b |\n|---|---|\n| x | many words in one cell here |",
        "a │ b\n──┼─────────────────────\nx │ many words in one\n  │ cell here",
    ),
    "table too wide for columns": (
        "| aaaaaa | bbbbbb | cccccc | dddddd |\n|---|---|---|---|\n| 1 | 2 | 3 | 4 |",
        "aaaaaa: 1\nbbbbbb: 2\ncccccc: 3\ndddddd: 4",
    ),
    "fence": ("```py\nx = 1\n\ny\n```", " py\n x = 1\n\n y"),
    "long code folds": ("```\n" + "x" * 30 + "\n```", " " + "x" * 22 + "\n " + "x" * 8),
    "wide characters": ("你好世界你好世界你好世界你", "你好世界你好世界你好世界\n你"),
    "html stays text": ("<b>bold</b> and a<br>break", "<b>bold</b> and a\nbreak"),
    "image": ("![a cat](http://x.org/c.png)", "[image: a cat]"),
    "mathematics": ("The sum $a_1 * b_1 * c$ and \\(x_i\\)", "The sum $a_1 * b_1 * c$\nand \\(x_i\\)"),
    "footnote-like text": ("So it is[^1].\n\n[^1]: A note.", "So it is[^1].\n\n[^1]: A note."),
    "emoji": ("👩\u200d👧 🇩🇪 ❤️ 1️⃣", "👩\u200d👧 🇩🇪 ❤️ 1️⃣"),
    "joined scripts": ("نمی\u200cخواهم क्\u200dष שלום", "نمی\u200cخواهم क्\u200dष שלום"),
    "display mathematics": ("$$\na_1 * b_2 * c\n$$", "$$\na_1 * b_2 * c\n$$"),
    "task with a number": ("1. [x] done", " 1. ☑ done"),
    "image with a link": ("[![a cat](http://x.org/c.png)](http://x.org)", "[image: a cat]"),
    "table within an item": ("- x\n\n  | a | b |\n  |---|---|\n  | 1 | 2 |", " • x\n\n   a │ b\n   ──┼──\n   1 │ 2"),
    "prices are no mathematics": ("$5 and *more* $6", "$5 and more $6"),
}


def render(source: str, width: int, *, final: bool = True) -> list[TextStrip]:
    document = Document(source)
    if final:
        document.finish()
    document.draw(width, PLAIN)
    return [document[row] for row in range(document.height)]


def text_of(strips: list[TextStrip]) -> str:
    return "\n".join(strip.text.rstrip() for strip in strips)


@pytest.mark.parametrize("name", GOLDEN)
def test_golden(name: str) -> None:
    source, expected = GOLDEN[name]
    lines = render(source, 24)
    assert text_of(lines) == "\n".join(line.rstrip() for line in expected.split("\n"))


def styles(source: str) -> dict[str, object]:
    return {s.text: s.style for line in render(source, 80) for s in line}


def test_inline_styles_lie_over_each_other() -> None:
    drawn = styles("# a *b* `c`\n\n**d *e*** ~~f~~")
    assert drawn["b"] == PLAIN.heading1 + drawn["b"].__class__(italic=True)
    assert drawn["c"] == PLAIN.heading1 + PLAIN.code
    assert drawn["e"].bold
    assert drawn["e"].italic
    assert drawn["f"].strike


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("[x](http://a.org/?q=1)", "http://a.org/?q=1"),
        ("[x](mailto:a@b.org)", "mailto:a@b.org"),
        ("<https://a.org>", "https://a.org"),
        ("see https://a.org/x).", "https://a.org/x"),
        ("[x](file:///etc/passwd)", None),
        ("[x](javascript:alert(1))", None),
        ("[x](ssh://host)", None),
        ("[x](/relative)", None),
    ],
)
def test_only_safe_schemes_become_links(source: str, target: str | None) -> None:
    links = {segment.style.link for line in render(source, 80) for segment in line if segment.style}
    assert links - {None} == ({target} if target else set())


@pytest.mark.parametrize(
    ("source", "drawn"),
    [
        ("[https://bank.com](https://evil.com/x)", "https://bank.com (https://evil.com/x)"),
        ("[www.bank.com/login](https://bank.com.evil.org)", "www.bank.com/login (https://bank.com.evil.org)"),
        ("[bank.com](http://evil.com)", "bank.com (http://evil.com)"),
        ("[help@bank.com](mailto:x@evil.com)", "help@bank.com (mailto:x@evil.com)"),
        ("[bаnk.com](https://bаnk.com)", "bаnk.com (https://xn--bnk-6cd.com)"),  # a Cyrillic а
        ("https://bank.com@evil.com/", "https://bank.com@evil.com/ (evil.com)"),
        ("[bank.com](https://www.bank.com/login)", "bank.com"),
        ("[bank.com](https://docs.bank.com)", "bank.com"),
        ("<https://a.org/x>", "https://a.org/x"),
        ("[Node.js](https://nodejs.org)", "Node.js"),
        ("[README.md](https://github.com/a/b)", "README.md"),
        ("[the docs](https://a.org)", "the docs"),
        ("[help@bank.com](mailto:help@bank.com)", "help@bank.com"),
    ],
)
def test_a_link_whose_text_names_another_host_shows_where_it_leads(source: str, drawn: str) -> None:
    assert text_of(render(source, 80)) == drawn


def test_citations_carry_their_mark() -> None:
    metas = {s.text: s.style.meta.get("citation") for line in render("a [S1, S12] b", 80) for s in line if s.style}
    assert metas == {"a ": None, "[S1, ": "S1", "S12]": "S12", " b": None}


def test_code_is_coloured_when_it_is_finished() -> None:
    source = "```python\ndef f(): return 'x'  # y\n```"
    drawn = styles(source)
    assert drawn["def"] == PLAIN.keyword
    assert drawn["f"] == PLAIN.name
    assert drawn["# y"] == PLAIN.comment
    open_styles = {s.style for line in render(source, 80, final=False) for s in line}
    assert open_styles == {PLAIN.fence, PLAIN.fence_label}


@pytest.mark.parametrize("language", ["nonsense", "../../x", "\x1b[31m", "python {.numberLines}"])
def test_any_language_can_be_named(language: str) -> None:
    assert "x = 1" in text_of(render(f"```{language}\nx = 1\n```", 40))


def test_deep_nesting_is_drawn() -> None:
    assert "deep" in text_of(render("> " * 40 + "deep", 30))
    nested = "\n".join("  " * level + "- item" for level in range(20))
    assert text_of(render(nested, 30)).count("item") == 20


@pytest.mark.parametrize("mark", ["> ", "- "])
def test_nothing_hides_in_nesting_too_deep_to_draw(mark: str) -> None:
    assert "hidden" in text_of(render(mark * 500 + "hidden\n\nend", 30))


def test_a_table_may_be_wider_than_text() -> None:
    document = Document("| a | b |\n|---|---|\n| " + "x" * 30 + " | " + "y" * 30 + " |\n\n" + "word " * 20)
    document.draw(20, PLAIN, 2, wide=80)
    rows = [document[row].text.rstrip() for row in range(document.height)]
    assert rows[2] == f"  {'x' * 30} │ {'y' * 30}"
    assert max(map(len, rows[3:])) <= 22
