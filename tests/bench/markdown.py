"""What drawing a growing Markdown text costs: µs per kB appended, for each construct at several lengths.

Run as ``python -m tests.bench.markdown``. The text is appended 8 characters at a time (two tokens) and drawn after
every 24, as 25 frames a second at 150 tokens a second would; the cost per kB should not grow with the length.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from time import perf_counter

from rich.style import Style

from tui.markdown.document import Document
from tui.markdown.palette import Palette

PALETTE = Palette(**{role: Style(color=f"color({index})") for index, role in enumerate(Palette.roles(), 16)})
SIZES = (5, 20, 80)
FRAME = 24
WORDS = "some words of an ordinary sentence, with a `name` and **weight** here and there, "


def _repeated(make: Callable[[int], str], head: str = "") -> Callable[[int], str]:
    def text(size: int) -> str:
        pieces = [head]
        length = len(head)
        for number in count(1):
            pieces.append(make(number))
            length += len(pieces[-1])
            if length >= size:
                return "".join(pieces)[:size]
        raise AssertionError

    return text


CONSTRUCTS: dict[str, Callable[[int], str]] = {
    "prose, short paragraphs": _repeated(lambda n: WORDS * 3 + "\n\n"),
    "one paragraph, one line": _repeated(lambda n: WORDS),
    "one paragraph, many lines": _repeated(lambda n: WORDS + "\n"),
    "unclosed **": _repeated(lambda n: WORDS, "An **open "),
    "unclosed `": _repeated(lambda n: WORDS.replace("`", ""), "An `open "),
    "one word": _repeated(lambda n: "abcdefghij"),
    "list": _repeated(lambda n: f"- item {n} of a list\n"),
    "numbered list, loose": _repeated(lambda n: f"{n}. item {n} of a list\n\n"),
    "list that becomes loose": _repeated(lambda n: f"- item {n}\n" + "\n" * (n % 500 == 499)),
    "list within an item": _repeated(lambda n: f"  - item {n} of a list\n", "- outer\n"),
    "nested 20 deep": _repeated(lambda n: "> " * (n % 20) + f"- line {n}\n"),
    "quote": _repeated(lambda n: f"> line {n} of a quote\n"),
    "table": _repeated(lambda n: f"| {n} | a cell | {'x' * (n % 30)} |\n", "| a | b | c |\n|---|---|--:|\n"),
    "code": _repeated(lambda n: f"    value_{n} = compute({n})  # a comment\n", "```python\n"),
    "code within an item": _repeated(lambda n: f"   value_{n} = compute({n})\n", "1. Do:\n   ```python\n"),
    "link definitions": _repeated(lambda n: f"See [page {n}].\n\n[page {n}]: https://x.org/{n}\n\n"),
}


def cost(text: str, width: int = 97) -> tuple[float, float]:
    """Seconds for all of `text`, and the longest frame's."""
    document = Document()
    total = longest = 0.0
    for at in range(0, len(text), FRAME):
        start = perf_counter()
        for piece in range(at, min(at + FRAME, len(text)), 8):
            document.append(text[piece : piece + 8])
        document.draw(width, PALETTE, 2)
        taken = perf_counter() - start
        total, longest = total + taken, max(longest, taken)
    start = perf_counter()
    document.finish()
    document.draw(width, PALETTE, 2)
    taken = perf_counter() - start
    return total + taken, max(longest, taken)


def main() -> None:
    """Prints the table."""
    cost(WORDS * 3)  # the parser is imported and warm
    print(f"{'µs/kB (longest frame, ms)':28}", *(f"{size:>7} kB      " for size in SIZES))
    for name, make in CONSTRUCTS.items():
        cells = []
        for size in SIZES:
            total, longest = cost(make(size * 1000))
            cells.append(f"{total * 1e6 / size:>7.0f} ({longest * 1000:>5.1f})")
        print(f"{name:28}", *cells, flush=True)


if __name__ == "__main__":
    main()
