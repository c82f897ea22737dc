"""One request inside the engine: its tokens and how far they are computed, its limits, its times, its way out."""

from __future__ import annotations

import asyncio
import itertools
import math
import sys
import time
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from backends.backend import Feature
from backends.engine.detokenizer import Detokenizer
from backends.engine.draw import Draw
from backends.events import Event, Reasoning, Token

if TYPE_CHECKING:
    from backends.engine.sampler import Sampler

_keys = itertools.count(1)


class Mailbox:
    """Events on their way from the scheduler thread to the one stream that reads them.

    `deliver` and `take` run on the asyncio loop. Tokens that the reader has not fetched yet are joined.
    """

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._arrived = asyncio.Event()

    def deliver(self, events: Iterable[Event]) -> None:
        """Put `events` behind those that are here."""
        for event in events:
            append_joined(self._events, event)
        self._arrived.set()

    async def take(self) -> Event:
        """The next event, as soon as there is one."""
        while not self._events:
            self._arrived.clear()
            await self._arrived.wait()
        return self._events.popleft()


def append_joined(events: Any, event: Event) -> None:
    """Append `event` to the list or deque `events`, joining it with a token or reasoning before it."""
    last = events[-1] if events else None
    if type(event) is Token and type(last) is Token:
        events[-1] = Token(last.text + event.text, last.count + event.count, last.logprobs + event.logprobs)
    elif type(event) is Reasoning and type(last) is Reasoning:
        events[-1] = Reasoning(last.text + event.text, last.count + event.count)
    else:
        events.append(event)


class Sequence:
    """The state of one request. Made on the asyncio side, then touched by the scheduler thread only.

    `tokens` is the prompt and what was sampled so far; the first `computed` of them are in the KV cache. While more
    than one is pending the sequence prefills; with one pending it decodes. `slot` is llama.cpp's sequence id, -1 while
    it waits. `cached` counts prompt tokens that were in the cache before, the last `ahead` of them computed on a hint;
    they are shared within a `partition` only. `is_draft`: a hint of what is still being typed. `fills_context`: its
    limit is what the context leaves. With context shift it holds `window` tokens at most, and what gives way stands
    behind the first `keep`; `left_out` have done so, and if `is_moved`, the cells of those behind them are not what
    their tokens alone would give. `due` is its place in line, where it stays for `patience` seconds at most. While it
    is parked it keeps what it has and nothing is computed for it. Times are milliseconds since `arrival`.
    """

    def __init__(
        self,
        prompt: list[int],
        limit: int,
        draw: Draw,
        text: Detokenizer,
        arrival: float,
        partition: str = "",
        feature: Feature = "chat",
    ) -> None:
        self.key = next(_keys)
        self.tokens = prompt
        self.prompt_tokens = len(prompt)
        self.limit = limit
        self.draw = draw
        self.arrival = arrival
        self.partition = partition
        self.feature = feature
        self.fills_context = False
        self.is_draft = False
        self.window = sys.maxsize
        self.keep = 0
        self.left_out = 0
        self.is_moved = False
        self.due = 0.0
        self.patience = math.inf
        self.loaded_ms = 0.0  # how long it waited for the model
        self.mailbox = Mailbox()
        self.text = text
        self.slot = -1
        self.computed = 0
        self.cached = 0
        self.ahead = 0
        self._sampler: Sampler | None = None
        self.queued_ms = self.now()
        self.position = 0  # in the queue, as last told to the client
        self.parked_since: float | None = None  # time.perf_counter()
        self.parked_ms = 0.0  # in all, of the time that its prompt took
        self.started_ms: float | None = None
        self.prefilled_ms: float | None = None
        self.first_token_ms: float | None = None
        self.unsent = 0  # tokens whose text is held back
        self.draft_tokens = 0  # proposed by a draft so far
        self.accepted_tokens = 0  # of them
        self.drafts_told_ms = 0.0  # when the client last heard of them

    @property
    def sampler(self) -> Sampler:
        """What draws its tokens; there is one from its admission until `close`."""
        assert self._sampler is not None
        return self._sampler

    @sampler.setter
    def sampler(self, sampler: Sampler) -> None:
        self._sampler = sampler

    def close(self) -> None:
        """Release the sampler, if there is one."""
        if self._sampler is not None:
            self._sampler.close()
            self._sampler = None

    @property
    def is_hint(self) -> bool:
        """True when nobody waits for an answer: the prompt is only computed, to be kept."""
        return self.limit == 0

    def goes_on_from(self, hint: Sequence) -> bool:
        """Whether its prompt begins with all of `hint`, whose cells it may see."""
        return self.partition == hint.partition and self.tokens[: hint.prompt_tokens] == hint.tokens

    @property
    def is_parked(self) -> bool:
        """Whether it stands still, since its reader is away."""
        return self.parked_since is not None

    def park(self, parked: bool) -> None:
        """Stand still, or go on."""
        if parked and self.parked_since is None:
            self.parked_since = time.perf_counter()
        elif not parked and self.parked_since is not None:
            if self.started_ms is not None and self.prefilled_ms is None:
                self.parked_ms += (time.perf_counter() - self.parked_since) * 1000
            self.parked_since = None

    @property
    def pending(self) -> int:
        """Tokens known but not computed."""
        return len(self.tokens) - self.computed

    def next_tokens(self, count: int) -> list[int]:
        """The first `count` pending tokens."""
        return self.tokens[self.computed : self.computed + count]

    @property
    def completion_tokens(self) -> int:
        """Tokens sampled so far."""
        return len(self.tokens) + self.left_out - self.prompt_tokens

    @property
    def reusable(self) -> int:
        """How many of its first tokens are in the KV cache as any other sequence that begins with them has them."""
        return min(self.computed, self.keep) if self.is_moved else self.computed

    @property
    def cells(self) -> int:
        """KV cells that it may need: prompt and answer. A draft never reaches beyond the answer's limit, or these."""
        return min(self.prompt_tokens + self.limit, self.window)

    @property
    def is_full(self) -> bool:
        """Whether it goes on, but there is no cell for its last token."""
        return len(self.tokens) > self.cells

    def leave_out(self, tokens: int) -> None:
        """The `tokens` oldest ones behind those to `keep` are no longer part of it."""
        del self.tokens[self.keep : self.keep + tokens]
        self.left_out += tokens

    @property
    def age(self) -> float:
        """Seconds since it was started."""
        return 0.0 if self.started_ms is None else (self.now() - self.started_ms) / 1000

    def now(self) -> float:
        """Milliseconds since the request arrived."""
        return (time.perf_counter() - self.arrival) * 1000
