"""What the first answer needs is there before it."""

from __future__ import annotations

import json
import subprocess
import sys

START = """
import sys
from rich.style import Style
from tui.markdown.document import Document
from tui.markdown.highlight import _lexer
from tui.markdown.palette import Palette
from tui.markdown.warm_up import warm_up

def draw(text):
    document = Document(text)
    document.draw(60, Palette(**{role: Style() for role in Palette.roles()}))
"""
DRAW = """
warm_up()
before = set(sys.modules)
draw("# *a* [b](https://example.org)\\n\\n| 日本 | b |\\n|---|---|\\n| a | `c` |\\n\\n")
draw("```python\\nx = 1\\n```\\n\\nend\\n")
print(set(sys.modules) - before)
"""
FENCE = """
import threading
draw("```rust\\nfn")
for thread in threading.enumerate():
    if thread is not threading.main_thread():
        thread.join()
print(_lexer.cache_info().currsize)
_lexer("rust")
print(_lexer.cache_info().hits)
"""


def run(code: str) -> str:
    """What a fresh interpreter prints."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_drawing_imports_nothing_more() -> None:
    assert run(START + DRAW) == "set()"


def test_a_language_is_loaded_when_its_fence_begins() -> None:
    assert run(START + FENCE).split() == ["1", "1"]


FIRST_PAGE = """
import asyncio
from textual.app import App
from tui.markdown import highlight
from tui.transcript.transcript import Transcript

class Shown(App):
    def compose(self):
        yield Transcript()

    def on_mount(self):
        self.query_one(Transcript).add("assistant", "```python\\nwhile True: pass\\n```\\n")

def code(transcript):
    line = next(line for line in range(10) if "while" in transcript._messages.line(line).text)
    return len({segment.style for segment in transcript._messages.line(line) if segment.text.strip()})

async def main():
    app = Shown()
    drawn = []
    load = highlight.load
    import tui.markdown.warm_up as warm_up
    warm_up.load = lambda language: (drawn.append(code(app.query_one(Transcript))), load(language))
    async with app.run_test() as pilot:
        while code(app.query_one(Transcript)) == 1:
            await pilot.pause(0.01)
        drawn.append(code(app.query_one(Transcript)))
    print(drawn)

asyncio.run(main())
"""


def test_the_first_page_does_not_wait_for_colours() -> None:
    before, after = json.loads(run(FIRST_PAGE))
    assert before == 1 < after
