"""What the app is raced against: the smallest Textual chat client, Textual's own streaming Markdown over httpx-sse."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from typing import ClassVar

import httpx
from httpx_sse import aconnect_sse
from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.widgets import Input, Markdown


async def pieces(client: httpx.AsyncClient, url: str, prompt: str) -> AsyncIterator[str]:
    body = {"model": "race-model", "stream": True, "messages": [{"role": "user", "content": prompt}]}
    async with aconnect_sse(client, "POST", f"{url}/chat/completions", json=body) as source:
        async for event in source.aiter_sse():
            if event.data == "[DONE]":
                break
            choices = json.loads(event.data)["choices"]
            if choices and (text := choices[0]["delta"].get("content")):
                yield text


class Minimal(App[None]):
    BINDINGS: ClassVar[list[BindingType]] = [("escape", "stop", "Stop")]
    CSS = "VerticalScroll { height: 1fr; } Markdown { height: auto; }"

    def compose(self) -> ComposeResult:
        yield VerticalScroll(id="log", can_focus=False)
        yield Input(placeholder="Ask anything")

    def on_mount(self) -> None:
        self.client = httpx.AsyncClient(timeout=None)
        self.query_one("#log").anchor()
        self.query_one(Input).focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.run_worker(self.ask(event.value), exclusive=True)
        event.input.clear()

    async def ask(self, prompt: str) -> None:
        markdown = Markdown()
        await self.query_one("#log").mount(markdown)
        stream = Markdown.get_stream(markdown)
        try:
            async for text in pieces(self.client, sys.argv[1], prompt):
                await stream.write(text)
        finally:
            await stream.stop()

    def action_stop(self) -> None:
        self.workers.cancel_all()


if __name__ == "__main__":
    Minimal().run()
