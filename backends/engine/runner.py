"""llama.cpp behind plain Python calls: tokenize, decode a batch, look at its logits.

With load.py and sampler.py the only caller of llama.cpp.

Everything but `tokenize`, `tokenize_again` and `abort` belongs to one thread, the scheduler's. The facts about the C
API that this relies on are those of ``llama.h``: what `llama_decode` returns, and what is in the memory afterwards.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from backends.engine.draw import Draw
from backends.engine.grammar import Grammar
from backends.engine.library import complaint
from backends.engine.load import load, load_error
from backends.engine.options import EngineOptions, Residency
from backends.engine.reasoning import MARKS
from backends.engine.sampler import Candidates, Floats, Sampler
from backends.engine.token_cache import TokenCache
from backends.engine.vocabulary import Vocabulary
from backends.errors import BackendError, Code

DECODED, NO_CELLS, ABORTED = 0, 1, 2
"""What `Runner.decode` returns; negative numbers are failures."""


State: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]


class Job(NamedTuple):
    """Tokens of the sequence in `slot` to compute, the first at position `start`.

    `outputs`: the logits behind how many of them are wanted, counted from the last; each is a row for `Sampler.sample`.
    """

    slot: int
    start: int
    tokens: Sequence[int]
    outputs: int


class Runner:
    """A loaded model and one context for `max_streams` sequences."""

    def __init__(
        self, options: EngineOptions, on_progress: Callable[[float], bool], beside: Runner | None = None
    ) -> None:
        """Load the model. `on_progress` gets the part of the weights that is read; False from it gives up.

        `beside`: another runner of the same thread; `abort` of either is for both.
        Raises BackendError: ENGINE_MISSING, or MODEL_LOAD with the path, the reason and advice.
        """
        self._abort_flag: ctypes.Array[ctypes.c_char] = (
            beside._abort_flag if beside is not None else ctypes.create_string_buffer(2)
        )
        loaded = load(options, on_progress, ctypes.addressof(self._abort_flag))
        self.library, self._model, self._context, self.metadata, self.info, *rest = loaded
        self.residency: Residency = rest[0]
        self.slots: int = rest[1]
        self._outputs: int = rest[2]
        self._keep = rest[3]
        self._c = self.library
        self.uses_gpu = bool(options.n_gpu_layers and self._c.llama_supports_gpu_offload())
        self.is_abortable = not self.uses_gpu  # llama.cpp's abort callback works on the CPU only
        self._memory = self._c.llama_get_memory(self._context)
        self._window = int(self._c.llama_model_n_swa(self._model))
        self.can_move = self.is_divisible and bool(self._c.llama_memory_can_shift(self._memory))
        self.is_moving = False  # cells were moved, which the next `decode` carries out: it must not be aborted
        self.vocab: Any = self._c.llama_model_get_vocab(self._model)
        self._vocab_lock = threading.Lock()
        self.n_vocab = int(self._c.llama_vocab_n_tokens(self.vocab))
        self.candidates = Candidates(self._c, self.n_vocab)
        self._pieces: dict[int, bytes] = {}
        is_control = self._c.llama_vocab_is_control
        self._controls = frozenset(token for token in range(self.n_vocab) if is_control(self.vocab, token))
        is_end = self._c.llama_vocab_is_eog
        self._ends = frozenset(token for token in range(self.n_vocab) if is_end(self.vocab, token))
        self.bos = self._find_bos()
        self._newline = self._find_newline()
        self.tokenize_again = TokenCache(self.tokenize)
        """`tokenize` for texts that come more than once. From any thread."""
        self._make_batch(options)
        if code := self._warm_up():
            self.close()
            raise load_error(options.model, f"it cannot compute a token (llama_decode returned {code}, {complaint()})")

    def _make_batch(self, options: EngineOptions) -> None:
        """The batch that every step reuses: numpy arrays, with llama.cpp's struct pointing into them."""
        c, size = self._c, options.n_batch
        self._token, self._pos = np.zeros(size, np.int32), np.zeros(size, np.int32)
        self._n_seq_id, self._output = np.ones(size, np.int32), np.zeros(size, np.int8)
        self._slots = np.arange(self.slots, dtype=np.int32)
        self._slot_address = [self._slots.ctypes.data + 4 * slot for slot in range(self.slots)]
        self._seq_id = np.full(size, self._slot_address[0], np.uintp)
        self._batch = c.llama_batch()
        addresses = {
            "token": self._token.ctypes.data,
            "pos": self._pos.ctypes.data,
            "n_seq_id": self._n_seq_id.ctypes.data,
            "seq_id": self._seq_id.ctypes.data,
            "logits": self._output.ctypes.data,
        }
        kinds = dict(c.llama_batch._fields_)
        for field, address in addresses.items():
            setattr(self._batch, field, ctypes.cast(address, kinds[field]))
        # keeps Python's lock, which would come back only when the asyncio thread has done what it has to do
        self._get_logits = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)(
            ctypes.cast(c.llama_get_logits, ctypes.c_void_p).value or 0
        )
        self._logits: Floats | None = None
        self._logits_address = 0
        self._is_read = False  # the logits of the last decode

    def _warm_up(self) -> int:
        """Touch all weights once, so that the first prompt does not pay for reading them. Returns `decode`'s code."""
        self._c.llama_set_warmup(self._context, True)
        code = self.decode([Job(0, 0, [max(0, self._c.llama_vocab_bos(self.vocab))], 1)])
        self._c.llama_memory_clear(self._memory, True)
        self._c.llama_set_warmup(self._context, False)
        return code

    @property
    def can_roll_back(self) -> bool:
        """Whether `remove` can forget the end of a sequence. Recurrent and hybrid models can only forget it all."""
        return not (self._c.llama_model_is_recurrent(self._model) or self._c.llama_model_is_hybrid(self._model))

    @property
    def is_divisible(self) -> bool:
        """Whether the first part of a sequence can be kept, shared and gone on from, wherever it ends.

        Not behind sliding windows either: llama.cpp gives cells that a window has passed to others, from any sequence
        and even where it keeps the full length (`swa_full`, `llama_kv_cache::find_slot`), and a saved state has but the
        last window of those layers.
        """
        return self.can_roll_back and not self._window

    # ---- text and tokens

    def vocabulary(self) -> Vocabulary:
        """What has to agree with a draft model's."""
        c, vocab = self._c, self.vocab
        texts = [c.llama_vocab_get_text(vocab, token) for token in range(self.n_vocab)]
        eos = int(c.llama_vocab_eos(vocab)) if c.llama_vocab_get_add_eos(vocab) else None
        return Vocabulary(int(c.llama_vocab_type(vocab)), self.bos, eos, texts)

    @property
    def chat_template(self) -> str | None:
        """The Jinja source that the GGUF carries."""
        return self.metadata.get("tokenizer.chat_template") or None

    def _find_bos(self) -> int | None:
        """The token that every prompt has to begin with, if the vocabulary wants one."""
        return int(self._c.llama_vocab_bos(self.vocab)) if self._c.llama_vocab_get_add_bos(self.vocab) else None

    def token_texts(self) -> tuple[str, str]:
        """The texts of the beginning- and end-of-sequence tokens, which templates write; empty if there is none."""
        ids = self._c.llama_vocab_bos(self.vocab), self._c.llama_vocab_eos(self.vocab)
        bos, eos = (self._c.llama_vocab_get_text(self.vocab, token) if token >= 0 else b"" for token in ids)
        return bos.decode("utf-8", "replace"), eos.decode("utf-8", "replace")

    def tokenize(self, text: str, special: bool, inner: bool = False) -> list[int]:
        """Token ids of `text`; control tokens are recognised only if `special`. From any thread.

        `inner`: the text goes on after other text. SentencePiece vocabularies put a space before whatever is tokenized;
        an inner text is tokenized behind a newline, which takes that space, and is then taken off.
        """
        tokens = self._tokenize(text, special, inner)
        if special or self._controls.isdisjoint(tokens):
            return tokens
        return [part for token in tokens for part in (self._letters(token) if token in self._controls else (token,))]

    def _letters(self, control: int) -> list[int]:
        """The tokens of the letters of a control token, to which SentencePiece may have merged them."""
        text = self._c.llama_vocab_get_text(self.vocab, control).decode("utf-8", "replace")
        letters = (self._tokenize(letter, False, True) for letter in text)
        return [token for tokens in letters for token in tokens if token not in self._controls]

    def _tokenize(self, text: str, special: bool, inner: bool = False) -> list[int]:
        if inner and self._newline:
            tokens = self._call_tokenize("\n" + text, special)
            if tokens[: len(self._newline)] == self._newline:
                return tokens[len(self._newline) :]
        return self._call_tokenize(text, special)

    def _call_tokenize(self, text: str, special: bool) -> list[int]:
        raw = text.encode("utf-8", "replace")
        size = len(raw) + 8
        with self._vocab_lock:
            if not self._model:
                raise _closing()
            while True:
                ids = (ctypes.c_int32 * size)()
                count = int(self._c.llama_tokenize(self.vocab, raw, len(raw), ids, size, False, special))
                if count >= 0:
                    return ids[:count]
                size = -count

    def _find_newline(self) -> list[int]:
        """The tokens of a newline with the space that SentencePiece adds; empty where none is added."""
        if self._c.llama_vocab_type(self.vocab) != self._c.LLAMA_VOCAB_TYPE_SPM:
            return []
        return (
            [] if self.metadata.get("tokenizer.ggml.add_space_prefix") == "false" else self._call_tokenize("\n", False)
        )

    def piece(self, token: int, spelled: bool = False) -> bytes:
        """The bytes that `token` stands for; none for control tokens, except `spelled` marks of thinking."""
        if spelled and token in self.marks:
            return self.marks[token]
        piece = self._pieces.get(token)
        if piece is None:
            text = ctypes.create_string_buffer(256)
            length = self._c.llama_token_to_piece(self.vocab, token, text, len(text), 0, False)
            if length < 0:
                text = ctypes.create_string_buffer(-length)
                length = self._c.llama_token_to_piece(self.vocab, token, text, len(text), 0, False)
            piece = self._pieces[token] = text.raw[:length]
        return piece

    def ends(self, token: int) -> bool:
        """True when `token` ends the answer, `sampler.END` included."""
        return token < 0 or token in self._ends

    @cached_property
    def marks(self) -> dict[int, bytes]:
        """The control tokens that are marks of thinking, and their texts."""
        found = {}
        for mark in MARKS:
            tokens = self._tokenize(mark, True)
            if len(tokens) == 1 and tokens[0] in self._controls:
                found[tokens[0]] = mark.encode()
        return found

    @cached_property
    def silent(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which tokens leave no text behind and do not end the answer either: control tokens, shape (n_vocab,)."""
        silent = np.zeros(self.n_vocab, np.bool_)
        silent[[token for token in self._controls if not self.ends(token)]] = True
        return silent

    def check_grammar(self, source: str) -> None:
        """Raises BackendError (BAD_REQUEST) when llama.cpp does not take the grammar `source`. From any thread."""
        with self._vocab_lock:
            if not self._model:
                raise _closing()
            Grammar(self, source).close()

    # ---- computing

    def decode(self, jobs: Sequence[Job]) -> int:
        """Compute `jobs` as one batch. Returns DECODED, NO_CELLS (nothing changed), ABORTED, or a negative number.

        After ABORTED or a number below -1 part of the batch may be in the memory; `remove` it.
        """
        at = 0
        self._is_read = False
        for slot, start, tokens, outputs in jobs:
            end = at + len(tokens)
            if end == at + 1:
                self._token[at], self._pos[at] = tokens[0], start
                self._seq_id[at], self._output[at] = self._slot_address[slot], outputs
            else:
                self._token[at:end] = tokens
                self._pos[at:end] = np.arange(start, start + end - at)
                self._seq_id[at:end] = self._slot_address[slot]
                self._output[at:end] = 0
                self._output[end - outputs : end] = 1
            at = end
        self._batch.n_tokens = at
        code = int(self._c.llama_decode(self._context, self._batch))
        if code == DECODED:
            self.is_moving = False
        return code

    def make_sampler(self, draw: Draw) -> Sampler:
        """The sampler of one sequence, to be closed by its owner."""
        return Sampler(self, draw)

    def logits(self, row: int) -> Floats:
        """The logits of the `row`-th output of the last `decode`, in the order of its jobs: a view, (n_vocab,)."""
        if not self._is_read:
            if not self.is_abortable:  # a GPU may still compute: wait for it without Python's lock
                self._c.llama_synchronize(self._context)
            # one call for all rows; numpy's view is made once, as the buffer hardly ever moves
            address = self._get_logits(self._context)
            if self._logits is None or address != self._logits_address:
                rows = (ctypes.c_float * self.n_vocab * self._outputs).from_address(address)
                self._logits, self._logits_address = np.ctypeslib.as_array(rows), address
            self._is_read = True
        assert self._logits is not None
        row_logits: Floats = self._logits[row]
        return row_logits

    def remove(self, slot: int, start: int) -> bool:
        """Empty the cells of `slot` from position `start` on.

        False when the model's memory can only forget it all, or a sliding window would look at what is gone; then all
        of `slot` is empty.
        """
        if self._c.llama_memory_seq_rm(self._memory, slot, start, -1) and self._sees_all(slot, start):
            return True
        self._c.llama_memory_seq_rm(self._memory, slot, -1, -1)
        return False

    def _sees_all(self, slot: int, position: int) -> bool:
        """Whether all that a token at `position` looks at in a sliding window is there."""
        if not self._window or not position:
            return True
        first = int(self._c.llama_memory_seq_pos_min(self._memory, slot))  # of the layers with a window
        return 0 <= first <= max(0, position - self._window + 1)

    def take_out(self, slot: int, start: int, end: int) -> None:
        """Empty the cells of `slot` from position `start` to `end`; those behind move up.

        Only where `can_move`, and for cells that `slot` shares with nobody, as they would move for all. The next
        `decode` turns their keys (RoPE) to the new positions; abort it midway, and they would be turned twice.
        """
        self._c.llama_memory_seq_rm(self._memory, slot, start, end)
        self._c.llama_memory_seq_add(self._memory, slot, end, -1, start - end)
        self.is_moving = True

    def share(self, giver: int, slot: int, start: int, end: int) -> None:
        """Let `slot`, which holds `start` tokens, hold the cells of `giver` from there to `end` too."""
        self._c.llama_memory_seq_cp(self._memory, giver, slot, start, end)

    def save(self, slot: int) -> State:
        """A copy of all cells of `slot` in host memory."""
        size = int(self._c.llama_state_seq_get_size(self._context, slot))
        state = np.empty(size, np.uint8)
        written = self._c.llama_state_seq_get_data(self._context, _bytes(state), size, slot)
        return state[: int(written)]

    def restore(self, slot: int, state: State) -> bool:
        """Put what `save` returned into the empty `slot`. False when there are no cells for it; `slot` stays empty."""
        if self._c.llama_state_seq_set_data(self._context, _bytes(state), state.size, slot):
            return True
        self.remove(slot, 0)
        return False

    def positions(self, slot: int) -> int:
        """How many positions llama.cpp holds for `slot`: what the account must say."""
        return int(self._c.llama_memory_seq_pos_max(self._memory, slot)) + 1

    def abort(self, on: bool) -> None:
        """Make the running `decode` return ABORTED soon, or allow decoding again. CPU only. From any thread."""
        self._abort_flag[0] = b"\x01" if on else b"\x00"

    def close(self) -> None:
        """Free the context and the model. Nothing else may be called afterwards; `tokenize` refuses."""
        with self._vocab_lock:
            if self._model:
                self._logits = None
                self._c.llama_free(self._context)
                self._c.llama_model_free(self._model)
                self._model = None


def _closing() -> BackendError:
    return BackendError(Code.SHUTDOWN, "the engine is closing", retryable=True)


def _bytes(state: State) -> Any:
    """The address of `state` as llama.cpp takes it."""
    return state.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
