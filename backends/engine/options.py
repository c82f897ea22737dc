"""What the engine may be told: one frozen struct, read from the configuration."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

FlashAttention = Literal["auto", "on", "off"]
Drafts = Literal["auto", "model", "ngram", "off"]
Residency = Literal["auto", "device", "host", "none"]
Batching = Literal["continuous", "dynamic", "static"]
Objective = Literal["ttft", "throughput"]
OnFull = Literal["stop", "shift"]
SplitMode = Literal["layer", "row", "none"]
KvType = Literal["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0"]

_Count = Annotated[int, msgspec.Meta(ge=0)]
_Positive = Annotated[int, msgspec.Meta(ge=1)]
_LARGEST = 1e9
"""No number here is infinite: they go to the engine's process as JSON, which has no such number."""

_Seconds = Annotated[float, msgspec.Meta(gt=0, le=_LARGEST)]


class QueueTimeout(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Seconds after which a request that waits for its place is refused, by feature."""

    chat: _Seconds = 60.0
    completion: _Seconds = 10.0
    summarize: _Seconds = 120.0
    batch: _Seconds = 600.0


class EngineOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the local model is run. Defaults suit a laptop; 0 means "chosen by the engine".

    - `model`: path of the GGUF file.
    - `n_ctx`: tokens that one conversation may hold, prompt and answer (0: what the model was trained for).
    - `on_full`: what an answer does that has used all of `n_ctx`. "stop": it ends there and says so. "shift": the
      system message stays (or the first `keep` tokens, if that is set), the older half of what follows is left out, and
      the answer goes on, as often as it takes; it says how many tokens were left out. A prompt that does not fit is
      refused either way.
    - `kv_cells`: tokens that all conversations together may hold in the KV cache (0: `n_ctx` for each stream as far as
      that costs no more than 1 GiB, and never less than one `n_ctx`).
    - `kv_type`: number format of the KV cache; the quantized ones need flash attention.
    - `kv_residency`: where the prefixes of ended requests are kept for the next ones. "host": as copies in main memory,
      so that they slow nobody on a CPU; "device": in the KV cache until others need the room, then as copies;
      "none": nowhere; "auto" is "device" with a GPU and "host" without.
    - `kv_host_mib`: how much memory those copies may take at most (0: an eighth of what is free at the start).
    - `max_streams`: answers made at the same time; further requests wait.
    - `batch_streams`: how many of them may be summaries and batch work, so that a chat need not wait for one of those
      to end (0: all but one). Only with "continuous" `batching`.
    - `max_queue`: how many may wait; beyond that the last in line is refused. `queue_timeout`: seconds that one may
      wait, by feature; a request may carry its own.
    - `batching`: "continuous": requests join and leave between steps. "dynamic" and "static": a batch is formed while
      nobody runs, and nobody joins it until all in it have ended; the next one begins when it is full or its first
      request has waited for `max_queue_ms`; "dynamic" takes them by their place and does not wait when nobody else is
      coming, "static" takes those of similar size. Neither makes anybody wait for memory any longer.
    - `objective`: "ttft": short prompts before long ones, and prompts in chunks that keep running answers smooth;
      "throughput": prompts in the order they came, as many tokens per step as llama.cpp computes at once (on a
      GPU, where a step cannot be aborted, as many as it computes in 50 ms).
    - `max_gap_ms`: with "ttft", how long a step with part of a prompt in it should take: what it costs is measured, and
      the parts are cut accordingly. Where that would make a prompt more than an eighth slower than alone, it is longer.
    - `prefill_chunk`: tokens of prompts per step, always, instead (0: measured, as said).
    - `n_batch`, `n_ubatch`: llama.cpp's logical and physical batch, in tokens.
    - `n_threads`: 0 takes the physical cores, fewer for a small model.
    - `n_gpu_layers`: layers in GPU memory; -1 is all of them, where llama.cpp was built for the GPU.
    - `split_mode`: with several GPUs, "layer" gives each some of the layers, "row" a part of every matrix (if they are
      closely linked), "none" takes `main_gpu` alone, which counts from 0.
    - `mmap`: map the weights from the file instead of reading them; `mlock`: keep them from being swapped out.
    - `lora`: adapters (GGUF files made for this model) and how strongly each counts, for all answers.
    - `flash_attention`: "auto" leaves it to llama.cpp on a GPU; on a CPU, where it slows decoding, it is "off" unless
      the cache is quantized or so large that attention without it took too much memory, or `objective` is
      "throughput": prompts in company are computed in a third of the time with it.
    - `repack_weights`: order quantized weights as the CPU's kernels like them; "auto" does not where llama.cpp has AMX
      kernels, since some builds of them crash.
    - `draft`: who drafts tokens for the model to verify, which changes no answer. "model": that of `draft_model`;
      "ngram": what the prompt and the answer say themselves, where they repeat; "auto" is both, the model only where
      there is one; "off". Drafts are only made where they are measured to save time.
    - `draft_model`: path of a small GGUF with the model's vocabulary. It takes as many cells as the model in a KV cache
      of its own.
    - `draft_max`: tokens of a draft, at most.
    """

    model: str
    n_ctx: _Count = 0
    on_full: OnFull = "stop"
    keep: _Count = 0
    kv_cells: _Count = 0
    kv_type: KvType = "f16"
    kv_residency: Residency = "auto"
    kv_host_mib: _Count = 0
    max_streams: Annotated[int, msgspec.Meta(ge=1, le=256)] = 4
    batch_streams: _Count = 0
    max_queue: _Count = 64
    queue_timeout: QueueTimeout = QueueTimeout()
    batching: Batching = "continuous"
    max_queue_ms: Annotated[float, msgspec.Meta(ge=0, le=_LARGEST)] = 100.0
    objective: Objective = "ttft"
    max_gap_ms: Annotated[float, msgspec.Meta(gt=0, le=_LARGEST)] = 100.0
    prefill_chunk: _Count = 0
    n_batch: _Positive = 2048
    n_ubatch: _Positive = 512
    n_threads: _Count = 0
    n_gpu_layers: Annotated[int, msgspec.Meta(ge=-1)] = -1
    split_mode: SplitMode = "layer"
    main_gpu: _Count = 0
    mmap: bool = True
    mlock: bool = False
    lora: tuple[tuple[str, Annotated[float, msgspec.Meta(ge=-_LARGEST, le=_LARGEST)]], ...] = ()
    flash_attention: FlashAttention = "auto"
    repack_weights: Literal["auto", "on", "off"] = "auto"
    draft: Drafts = "auto"
    draft_model: str = ""
    draft_max: Annotated[int, msgspec.Meta(ge=1, le=64)] = 8

    @property
    def drafted(self) -> int:
        """Drafted tokens that a sequence may have in one step."""
        return 0 if self.draft == "off" else self.draft_max

    @property
    def patient_streams(self) -> int:
        """How many streams may be of features that can wait."""
        return min(self.batch_streams or max(1, self.max_streams - 1), self.max_streams)

    def __post_init__(self) -> None:
        if self.n_batch < self.max_streams:
            raise ValueError(
                f"n_batch {self.n_batch} is smaller than max_streams {self.max_streams}: raise one or lower the other"
            )
        if self.draft == "model" and not self.draft_model:
            raise ValueError('draft is "model", but no draft_model is set: name one, or set draft to "ngram"')
