"""Greedy decoding of the exported files through llama.cpp, for the evaluation and the tests; no PyTorch here."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
import numpy.typing as npt

_QUIET: Any = llama_cpp.llama_log_callback(lambda _level, _text, _data: None)

START, END = "<|im_start|>", "<|im_end|>"


def quiet() -> None:
    """Drop llama.cpp's log, for this whole process."""
    llama_cpp.llama_log_set(_QUIET, ctypes.c_void_p(0))


class Player:
    """One model file. Messages are tokenized as text, the template's own words with their control tokens.

    Weights stay in plain buffers: llama.cpp's AMX kernels for Q8_0, built by GCC 12, crash on their first use (the tile
    configuration is passed to `ldtilecfg` half written; GCC 13 builds them right).
    """

    def __init__(self, path: Path, *, context: int = 4096, threads: int = 2) -> None:
        llama_cpp.llama_backend_init()
        options: Any = llama_cpp.llama_model_default_params()
        options.use_extra_bufts = False
        self._model: Any = llama_cpp.llama_model_load_from_file(str(path).encode(), options)
        if not self._model:
            raise FileNotFoundError(f"llama.cpp cannot read the model {path}")
        limits: Any = llama_cpp.llama_context_default_params()
        limits.n_ctx = limits.n_batch = limits.n_ubatch = context
        limits.n_threads = limits.n_threads_batch = threads
        self._context: Any = llama_cpp.llama_init_from_model(self._model, limits)
        self._vocab: Any = llama_cpp.llama_model_get_vocab(self._model)
        self.vocabulary = int(llama_cpp.llama_vocab_n_tokens(self._vocab))
        self.end = int(llama_cpp.llama_vocab_eos(self._vocab))
        self._batch: Any = llama_cpp.llama_batch_init(context, 0, 1)

    def close(self) -> None:
        llama_cpp.llama_batch_free(self._batch)
        llama_cpp.llama_free(self._context)
        llama_cpp.llama_model_free(self._model)

    def metadata(self, key: str) -> str:
        """A metadata value of the file as text; empty where there is none."""
        buffer = ctypes.create_string_buffer(8192)
        size = llama_cpp.llama_model_meta_val_str(self._model, key.encode(), ctypes.cast(buffer, ctypes.c_char_p), 8192)
        return buffer.value.decode() if size >= 0 else ""

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        data = text.encode()
        out = (llama_cpp.llama_token * (len(data) + 8))()
        count = llama_cpp.llama_tokenize(self._vocab, data, len(data), out, len(out), False, special)
        return list(out[:count])

    def decode(self, ids: Sequence[int]) -> str:
        pieces = b""
        buffer = (ctypes.c_char * 256)()
        for token in ids:
            size = llama_cpp.llama_token_to_piece(self._vocab, token, buffer, 256, 0, True)
            pieces += buffer.raw[:size]
        return pieces.decode("utf-8", "replace")

    def prompt(self, messages: Sequence[dict[str, str]]) -> list[int]:
        """The ids of a chat up to the place where the answer begins."""
        ids: list[int] = []
        for message in messages:
            ids += self.encode(f"{START}{message['role']}\n", special=True)
            ids += self.encode(message["content"])
            ids += self.encode(f"{END}\n", special=True)
        return ids + self.encode(f"{START}assistant\n", special=True)

    def forget(self) -> None:
        """Empty the context."""
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self._context), True)

    def feed(self, ids: Sequence[int], position: int, *, every: bool = False) -> npt.NDArray[np.float32]:
        """Compute `ids` at `position` and after; logits (rows, vocabulary) after the last, or after `every` one."""
        batch = self._batch
        batch.n_tokens = len(ids)
        for i, token in enumerate(ids):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0] = token, position + i, 1, 0
            batch.logits[i] = every or i == len(ids) - 1
        if llama_cpp.llama_decode(self._context, batch) != 0:
            raise RuntimeError(f"llama.cpp could not compute {len(ids)} tokens at position {position}")
        rows = len(ids) if every else 1
        logits = llama_cpp.llama_get_logits(self._context)
        return np.ctypeslib.as_array(logits, (rows, self.vocabulary)).copy()

    def answer(self, prompt: Sequence[int], most: int = 320) -> tuple[list[int], bool]:
        """The greedy answer's ids, and whether it ended by itself."""
        self.forget()
        out: list[int] = []
        token = int(self.feed(prompt, 0)[0].argmax())
        while token != self.end and len(out) < most:
            out.append(token)
            token = int(self.feed([token], len(prompt) + len(out) - 1)[0].argmax())
        return out, token == self.end

    def logits(self, ids: Sequence[int], first: int) -> npt.NDArray[np.float32]:
        """Logits (positions, vocabulary) after each of `ids` from index `first` on."""
        self.forget()
        return self.feed(ids, 0, every=True)[first:]


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
