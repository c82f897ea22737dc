"""Greedy decoding of the exported files through llama.cpp, for the evaluation and the tests; no PyTorch here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from llama_cpp import Llama

START, END = "<|im_start|>", "<|im_end|>"


class Player:
    """One model file. Messages are tokenized as text, the template's own words with their control tokens."""

    def __init__(self, path: Path, *, context: int = 4096, threads: int = 2, all_logits: bool = False) -> None:
        self.llama: Any = Llama(
            str(path), n_ctx=context, n_threads=threads, n_threads_batch=threads, logits_all=all_logits, verbose=False
        )
        self.end = self.llama.token_eos()

    def close(self) -> None:
        self.llama.close()

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        return list(self.llama.tokenize(text.encode(), add_bos=False, special=special)) if text else []

    def decode(self, ids: Sequence[int]) -> str:
        return str(self.llama.detokenize(list(ids), special=True).decode("utf-8", "replace"))

    def prompt(self, messages: Sequence[dict[str, str]]) -> list[int]:
        """The ids of a chat up to the place where the answer begins."""
        ids: list[int] = []
        for message in messages:
            ids += self.encode(f"{START}{message['role']}\n", special=True)
            ids += self.encode(message["content"])
            ids += self.encode(f"{END}\n", special=True)
        return ids + self.encode(f"{START}assistant\n", special=True)

    def answer(self, prompt: Sequence[int], most: int = 320) -> tuple[list[int], bool]:
        """The greedy answer's ids, and whether it ended by itself."""
        out: list[int] = []
        for token in self.llama.generate(list(prompt), temp=0.0):
            if token == self.end:
                return out, True
            out.append(token)
            if len(out) >= most:
                break
        return out, False

    def logits(self, ids: Sequence[int], first: int) -> npt.NDArray[np.float32]:
        """Logits (positions, vocabulary) after each of `ids` from index `first` on; needs `all_logits`."""
        self.llama.reset()
        self.llama.eval(list(ids))
        return np.array(self.llama.scores[first : len(ids)], dtype=np.float32)


def drafted(agree: Sequence[bool], length: int = 5) -> tuple[int, int, int]:
    """(accepted, drafted, passes of the target) if every pass checked `length` drafted tokens, given at which
    positions the draft's choice is the target's."""
    at = accepted = proposed = passes = 0
    while at < len(agree):
        run = 0
        while run < length and at + run < len(agree) and agree[at + run]:
            run += 1
        accepted, proposed, passes, at = accepted + run, proposed + length, passes + 1, at + run + 1
    return accepted, proposed, passes
