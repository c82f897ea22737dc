"""The transcript with nothing around it but a bare Textual app: `textual_minimal`, but for the widget."""

from __future__ import annotations

import sys

import httpx
from textual.app import ComposeResult
from textual.widgets import Input

from tests.bench.screen.textual_minimal import pieces
from tui.terminal.painted_app import PaintedApp
from tui.transcript.transcript import Transcript


class BareTranscript(PaintedApp[None]):
    CSS = "Transcript { height: 1fr; }"

    def compose(self) -> ComposeResult:
        yield Transcript()
        yield Input(placeholder="Ask anything")

    def on_mount(self) -> None:
        self.client = httpx.AsyncClient(timeout=None)
        self.query_one(Input).focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.run_worker(self.ask(event.value), exclusive=True)
        event.input.clear()

    async def ask(self, prompt: str) -> None:
        transcript = self.query_one(Transcript)
        transcript.add("user", prompt)
        key = transcript.add("assistant")
        async for text in pieces(self.client, sys.argv[1], prompt):
            transcript.append(key, text)
        transcript.finish(key, "complete")


if __name__ == "__main__":
    BareTranscript().run()
