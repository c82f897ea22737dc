"""Thinking told apart from answering: blocks like ``<think>...</think>`` at the head of an answer.

Which marks there are is read from the published chat templates (DeepSeek, Qwen, Mistral, Seed-OSS, Cohere, Apertus,
Gemma 4, MiniMax, Hunyuan); gpt-oss's harmony format (openai/harmony, docs/format.md) has headers instead, of which the
channel "final" is the answer. A mark counts at the head of an answer only, so that an answer may speak of it.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

BLOCKS = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",
    "[THINK]": "[/THINK]",
    "<seed:think>": "</seed:think>",
    "<mm:think>": "</mm:think>",
    "<think:opensource>": "</think:opensource>",
    "<|START_THINKING|>": "<|END_THINKING|>",
    "<|inner_prefix|>": "<|inner_suffix|>",
    "<|channel>thought": "<channel|>",
}
"""What opens a block of thinking: what closes it."""

_HEADS, _MESSAGE, _FINAL, _END = ("<|channel|>", "<|start|>"), "<|message|>", "final", "<|end|>"
_HARMONY = "<|start|>assistant"
_LONGEST_HEAD = 200

MARKS = frozenset({*BLOCKS, *BLOCKS.values(), *_HEADS, _MESSAGE, _END, "<|channel>"})
"""Texts that may be control tokens, which otherwise leave no text behind."""

_State = Literal["opening", "thinking", "answering"]


class Said(NamedTuple):
    """A stretch of text that may be shown."""

    text: str
    is_reasoning: bool


def opened_by(prompt: str) -> str:
    """What closes the block of thinking that `prompt` ends with, empty if it ends with none."""
    tail = prompt.rstrip()
    return next((close for begin, close in BLOCKS.items() if tail.endswith(begin)), "")


def answer_head(prompt: str) -> str:
    """What has to follow `prompt` so that the answer comes next, and no thinking; empty if nothing has to."""
    if closing := opened_by(prompt):
        return f"\n\n{closing}\n\n"
    return f"{_HEADS[0]}{_FINAL}{_MESSAGE}" if prompt.endswith(_HARMONY) else ""


class Marks:
    """Splits text at the marks of thinking, however it is cut. White space next to marks is left out."""

    def __init__(self, closing: str = "") -> None:
        """`closing`: what closes the block of thinking that the prompt has opened, empty if it has not."""
        self.state: _State = "thinking" if closing else "opening"
        self.blocks = int(bool(closing))  # of thinking, so far
        self._closing = closing
        self._fresh = True  # nothing was said yet in this block
        self._held = ""

    def push(self, text: str) -> list[Said]:
        """Take in text; return what is certain by now."""
        self._held += text
        said: list[Said] = []
        while self._open() if self.state == "opening" else self.state == "thinking" and self._think(said):
            pass
        if self.state == "answering" and self._held:
            said.append(Said(self._held, False))
            self._held = ""
        return said

    def finish(self) -> list[Said]:
        """What was held back."""
        thinking, blank = self.state == "thinking", self.blocks > 0
        held, self._held = self._held, ""
        text = held.rstrip() if thinking else held.lstrip() if blank else held
        return [Said(text, thinking)] if text else []

    def _open(self) -> bool:
        """Whether the head of the held text tells what comes: a block of thinking, or the answer."""
        text = self._held.lstrip()
        for begin, close in BLOCKS.items():
            if text.startswith(begin):
                return self._think_until(close, text[len(begin) :])
        if text.startswith(_HEADS):
            head, found, rest = text.partition(_MESSAGE)
            if found and _FINAL not in head:
                return self._think_until(_END, rest)
            if not found and len(text) <= _LONGEST_HEAD:
                return False
            self._held = rest if found else self._held
        elif any(mark.startswith(text) for mark in (*BLOCKS, *_HEADS)):  # an empty text too
            return False
        elif self.blocks:
            self._held = text
        self.state = "answering"
        return True

    def _think_until(self, closing: str, rest: str) -> bool:
        self.state, self._closing, self._held, self._fresh = "thinking", closing, rest, True
        self.blocks += 1
        return True

    def _think(self, said: list[Said]) -> bool:
        """Whether the block is over. What is surely thinking goes to `said`."""
        if self._fresh:
            self._held = self._held.lstrip()
        thought, closed, rest = self._held.partition(self._closing)
        if not closed:
            rest = _half(thought, self._closing)
        thought = thought[: len(thought) - len(rest)] if not closed else thought
        kept = thought.rstrip()
        if kept:
            said.append(Said(kept, True))
            self._fresh = False
        if closed:
            self._held, self.state = rest, "opening"
        else:
            self._held = thought[len(kept) :] + rest
        return bool(closed)


def _half(text: str, mark: str) -> str:
    """The longest end of `text` that `mark` begins with, not all of it."""
    lengths = range(min(len(text), len(mark) - 1), 0, -1)
    return next((mark[:length] for length in lengths if text.endswith(mark[:length])), "")
