"""An app on a real terminal that streams into a transcript, then says what the screen should show.

Run as ``python pty_app.py SEED FILE``: FILE gets the expected lines of the transcript, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from pathlib import Path

from textual.app import App, ComposeResult
from textual.widgets import Static

from backends.events import Citation
from tui.transcript.transcript import Transcript

EVIL = "\x1b]0;pwned\x07 \x1b[2J\x9b31m \u202eevil"
PIECES = [
    "word ",
    "**bold** ",
    "`code` ",
    "\n\n",
    "\n- item ",
    "\n1. one ",
    "\n```py\nx = 1\n",
    "\n```\n",
    "你好 ",
    EVIL,
    "\n\n# H\n",
]


class PtyApp(App[None]):
    """A transcript and one line under it, as in the real app."""

    CSS = "Transcript { height: 1fr; } Static { height: 1; }"
    ENABLE_COMMAND_PALETTE = False

    def compose(self) -> ComposeResult:
        yield Transcript()
        yield Static("status")

    def on_mount(self) -> None:
        self.run_worker(self.play(random.Random(int(sys.argv[1]))))

    async def play(self, rng: random.Random) -> None:
        """Streams three answers while the reader scrolls about, then writes the expectation."""
        transcript = self.query_one(Transcript)
        for turn in range(3):
            transcript.add("user", f"question {turn} {EVIL}")
            key = transcript.add("assistant", title="model")
            transcript.set_waiting(key, "queued")
            await asyncio.sleep(0.02)
            transcript.append_reasoning(key, "thinking " * 30)
            transcript.set_waiting(key, None)
            for _ in range(60):
                transcript.append(key, rng.choice(PIECES))
                await asyncio.sleep(rng.choice([0, 0, 0.005, 0.05]))
                act = rng.choice(["page_up", "scroll_up", "scroll_down", "page_down", "scroll_end", *[""] * 8])
                if act:
                    getattr(transcript, f"action_{act}")()
            transcript.set_citations(key, [Citation("a.md", "S1", "A source")])
            transcript.finish(key, rng.choice(["complete", "cancelled"]))
        if rng.random() < 0.5:
            transcript.action_scroll_end()
        frames = -1
        while frames != transcript.frames:
            frames = transcript.frames
            await asyncio.sleep(0.3)
        lines = [transcript.render_line(y).text.rstrip() for y in range(transcript.size.height)]
        await asyncio.to_thread(Path(sys.argv[2]).write_text, json.dumps(lines), "utf-8")


if __name__ == "__main__":
    PtyApp().run()
