"""What steps cost on this machine just now, measured: how long an answer's next token takes, and a prompt's."""

from __future__ import annotations

MIN_MEASURED = 16
"""Prompt tokens below which a step says nothing about what a prompt costs."""


class Pace:
    """Running averages, in seconds; 0 until something was measured.

    `plain`: a step in which answers go on and no prompt is computed. `prompt_token`: what one more token of a prompt
    adds to a step, lately: it grows with the depth. `gap`: between two tokens of an answer, whatever else is computed.
    `used_part`: how much of their limits answers use, 0 to 1.
    """

    def __init__(self) -> None:
        self.plain = 0.0
        self.prompt_token = 0.0
        self.gap = 0.0
        self.used_part = 1.0

    def stepped(self, decoding: int, prompt_tokens: int, seconds: float, said: int = 0) -> None:
        """A step took `seconds`, in which `decoding` answers went on and `prompt_tokens` of prompts were computed.

        `said`: the tokens that came of it: with drafts more than one for each answer.
        """
        if decoding:
            self.gap = _blend(self.gap, seconds * decoding / max(said, decoding), 0.1)
        if decoding and not prompt_tokens:
            self.plain = _blend(self.plain, seconds, 0.2)
        elif prompt_tokens >= MIN_MEASURED:
            added = seconds - (self.plain if decoding else 0.0)
            self.prompt_token = _blend(self.prompt_token, max(added, seconds / 4) / prompt_tokens, 0.3)

    def ended(self, tokens: int, limit: int) -> None:
        """An answer ended on its own after `tokens` of the `limit` it might have had."""
        self.used_part += 0.1 * (tokens / limit - self.used_part)

    def prompt_seconds(self, tokens: int) -> float:
        """How long so many tokens of a prompt will take, with no other prompt beside it."""
        return tokens * self.prompt_token

    def answer_seconds(self, limit: int) -> float:
        """How long an answer of at most so many tokens will take."""
        return limit * self.used_part * (self.gap or self.plain)


def _blend(old: float, new: float, weight: float) -> float:
    """A running average that doubts a sudden slowness: it may be the machine's."""
    return new if old == 0 else old + weight * (min(new, 2 * old) - old)
