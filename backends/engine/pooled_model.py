"""A model that makes one row of numbers of a text, an embedding or a score: loaded, and asked for many at a time.

A text is a sequence of its own; several of similar length are computed as one batch. How a text's tokens become one row
(their mean, the first, the last, a classifier on top) is the model's own pooling, as its GGUF says.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from backends.engine.library import complaint, load_library
from backends.engine.load import check_file, load_error, open_model
from backends.engine.machine import physical_cores, threads_for
from backends.engine.options import EngineOptions
from backends.errors import BackendError, Code

Rows: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]

MAX_TOKENS = 1024
"""Of a text, at most, even where the model was trained for more: the cost of attention grows with the square."""

BATCH_TOKENS = 512
"""Of short texts together: more gain nothing on a CPU, as every token of a batch looks at all others of it."""

BATCH_TEXTS = 64

WORK_PER_THREAD = 2**30
"""Bytes of weights times tokens that are worth a thread: a question to a small model gets one. Threads meet after every
operation, spinning, and while a question is asked the engine computes on the same cores (measured on 2 busy cores, a
22M model: a question of 10 tokens takes 22 ms with one thread and 131 ms with two, 1.5 s at P95)."""

_COMPUTER = ThreadPoolExecutor(1, "pooled-model")
"""The thread on which all of them compute. OpenMP gives each thread that ever computes helpers of its own, and where
they are more than the cores it puts them to sleep between any two operations: a quarter of the speed on 2 cores."""


class PooledModel:
    """One model with a context of its own. Any thread may call it; one at a time computes."""

    def __init__(self, path: Path, threads: int | None = None, gpu_layers: int = 0) -> None:
        """Load it. `threads` None: the physical cores. Raises BackendError: ENGINE_MISSING, or MODEL_LOAD with the
        path, the reason and advice."""
        self.path = str(path)
        check_file(self.path)
        self._c: Any = load_library()
        self._lock = threading.Lock()
        options = EngineOptions(model=self.path, n_gpu_layers=gpu_layers, n_threads=threads or 0)
        self._model: Any = open_model(self._c, options, lambda _part: True)
        self._context: Any = None
        self.vocab: Any = self._c.llama_model_get_vocab(self._model)
        self.max_tokens = min(MAX_TOKENS, int(self._c.llama_model_n_ctx_train(self._model)))
        self._batch_tokens = max(self.max_tokens, BATCH_TOKENS)
        self._size = int(self._c.llama_model_size(self._model))
        self._threads = threads or threads_for(self._size, physical_cores())
        try:
            self._context = self._open_context(options)
        except BackendError:
            self.close()
            raise
        self._memory = self._c.llama_get_memory(self._context)
        self._compute = self._c.llama_decode if self._memory else self._c.llama_encode
        self.pooling = int(self._c.llama_pooling_type(self._context))
        is_scorer = self.pooling == self._c.LLAMA_POOLING_TYPE_RANK
        self.width = int((self._c.llama_model_n_cls_out if is_scorer else self._c.llama_model_n_embd_out)(self._model))

    def _open_context(self, options: EngineOptions) -> Any:
        params = self._c.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = self._batch_tokens  # a text must not be cut into parts
        params.n_seq_max, params.kv_unified = BATCH_TEXTS, True
        params.n_threads = params.n_threads_batch = self._threads
        params.embeddings = True
        params.offload_kqv = params.op_offload = options.n_gpu_layers != 0
        context = self._c.llama_init_from_model(self._model, params)
        if not context:
            raise load_error(self.path, f"no context could be made: {complaint() or 'llama.cpp gave no reason'}")
        return context

    @property
    def names(self) -> Any:
        """llama.cpp's module, for its constants and its questions about `vocab`."""
        return self._c

    def tokenize(self, text: str, framed: bool, special: bool = False) -> list[int]:
        """Token ids of `text`; special tokens are recognised in it only if `special`, and put around it if `framed`."""
        raw = text.encode("utf-8", "replace")
        count = len(raw) + 8
        with self._lock:
            self._check_open()
            while True:
                ids = (self._c.llama_token * count)()
                found = int(self._c.llama_tokenize(self.vocab, raw, len(raw), ids, count, framed, special))
                if found >= 0:
                    return list(ids[:found])
                count = -found

    def template(self, name: str) -> str | None:
        """The text that the GGUF carries as its template `name`."""
        found = self._c.llama_model_chat_template(self._model, name.encode())
        return found.decode("utf-8", "replace") if found else None

    def rows(self, texts: Sequence[Sequence[int]]) -> Rows:
        """A row for each of `texts`, token ids of at most `max_tokens`: shape (n, width). Without tokens: zeros.

        Raises BackendError (INTERNAL) when llama.cpp cannot compute them.
        """
        return _COMPUTER.submit(self._rows, texts).result()

    def _rows(self, texts: Sequence[Sequence[int]]) -> Rows:
        found = np.zeros((len(texts), self.width), np.float32)
        with self._lock:
            self._check_open()
            for batch in batches([len(text) for text in texts], self._batch_tokens):
                self._run([texts[index] for index in batch])
                for sequence, index in enumerate(batch):
                    row = self._c.llama_get_embeddings_seq(self._context, sequence)
                    found[index] = np.ctypeslib.as_array(row, (self.width,))
        return found

    def _run(self, texts: Sequence[Sequence[int]]) -> None:
        size = sum(map(len, texts))
        batch = self._c.llama_batch_init(size, 0, 1)
        try:
            batch.n_tokens = size
            places = ((sequence, place) for sequence, text in enumerate(texts) for place in range(len(text)))
            for at, (sequence, place) in enumerate(places):
                batch.token[at], batch.pos[at] = texts[sequence][place], place
                batch.n_seq_id[at], batch.seq_id[at][0], batch.logits[at] = 1, sequence, 1
            if self._memory:
                self._c.llama_memory_clear(self._memory, False)
            threads = max(1, min(self._threads, self._size * size // WORK_PER_THREAD))
            self._c.llama_set_n_threads(self._context, threads, threads)
            if code := int(self._compute(self._context, batch)):
                reason = f"llama.cpp could not compute {len(texts)} texts of {size} tokens (code {code})"
                raise BackendError(Code.INTERNAL, f"{self.path}: {reason}")
        finally:
            self._c.llama_batch_free(batch)

    def close(self) -> None:
        """Free it. Everything else refuses from then on."""
        with self._lock:
            if self._context:
                self._c.llama_free(self._context)
            if self._model:
                self._c.llama_model_free(self._model)
            self._model = self._context = None

    def _check_open(self) -> None:
        if not self._model:
            raise BackendError(Code.SHUTDOWN, f"{self.path}: the model was closed")


def batches(lengths: Sequence[int], tokens: int) -> list[list[int]]:
    """Indices of texts of these `lengths`, put together: the shortest first, at most `tokens` and `BATCH_TEXTS` each.

    Texts of length 0 are in none.
    """
    found: list[list[int]] = []
    room = 0
    for index in sorted((index for index, length in enumerate(lengths) if length), key=lambda index: lengths[index]):
        if not found or lengths[index] > room or len(found[-1]) == BATCH_TEXTS:
            found.append([])
            room = tokens
        found[-1].append(index)
        room -= lengths[index]
    return found
