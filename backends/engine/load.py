"""Loading a GGUF into llama.cpp: the model, its metadata, and a context whose KV cache fits the memory."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from backends.engine.kv_cache import bytes_per_token, plan
from backends.engine.library import abort_callback, complaint, crashes_repacked, load_library
from backends.engine.machine import available_memory, physical_cores, threads_for
from backends.engine.options import EngineOptions, FlashAttention, Residency
from backends.errors import BackendError, Code

MAX_SLOTS = 256  # LLAMA_MAX_SEQ
KEPT_SLOTS: dict[Residency, int] = {"device": 16, "host": 4, "none": 0}
"""Sequences besides the running ones that llama.cpp has to tell apart."""

_FLASH = {"auto": -1, "off": 0, "on": 1}  # llama_flash_attn_type

_LOAD_MODES = {
    (True, False): "AUTO",
    (True, True): "MMAP_MLOCK",
    (False, True): "MLOCK",
    (False, False): "NONE",
}  # llama_load_mode by `mmap` and `mlock`

NO_CHAT = "it is not a model that generates text (decoder-only). Embedding models are for retrieval only."

MIN_OUTPUTS = 64
"""Rows of logits to plan for at least. llama.cpp lays its buffers out by that number, and with few of them a prompt
takes longer on a CPU (measured with 20 against 32 to 512: a quarter longer, at 125M and 0.75B parameters)."""

MAX_SCORES = 512 << 20
"""Bytes that attention scores may take without flash attention, for a full batch and a full cache."""


class ModelInfo(msgspec.Struct, frozen=True):
    """What is loaded. Sizes in tokens (`n_ctx_train`, `n_ctx`, `kv_cells`) or bytes."""

    name: str
    path: str
    description: str
    n_params: int
    size: int
    n_ctx_train: int
    n_ctx: int
    kv_cells: int
    kv_bytes_per_token: int


class Loaded(NamedTuple):
    """llama.cpp's module and pointers. `metadata`: the GGUF's keys as text. `keep`: what must live as long as they.

    `residency`: where prefixes are kept, decided; `slots`: how many sequences the context tells apart; `outputs`: how
    many rows of logits one step may have.
    """

    library: Any
    model: Any
    context: Any
    metadata: dict[str, str]
    info: ModelInfo
    residency: Residency
    slots: int
    outputs: int
    keep: Any


def load(options: EngineOptions, on_progress: Callable[[float], bool], abort_flag: int) -> Loaded:
    """Load the model and make a context for `max_streams` sequences in one unified KV cache.

    `on_progress` gets the part of the weights that is read; False from it gives up. `abort_flag`: address of the two
    bytes that the abort callback reads. Raises BackendError: ENGINE_MISSING, or MODEL_LOAD with path, reason, advice.
    """
    check_file(options.model)
    c = load_library()
    complaint()
    model = open_model(c, options, on_progress)
    try:
        if not c.llama_model_has_decoder(model) or c.llama_model_has_encoder(model):
            raise load_error(options.model, NO_CHAT)
        metadata = _read_metadata(c, model)
        token_bytes = _token_bytes(c, model, metadata, options)
        n_ctx, cells = _plan(c, model, options, token_bytes)
        callback = abort_callback(c)
        residency = _residency(c, model, options)
        slots = min(MAX_SLOTS, options.max_streams + KEPT_SLOTS[residency])
        outputs = max(slots, min(options.n_batch, max(MIN_OUTPUTS, options.max_streams * (1 + options.drafted))))
        adapters = [_open_adapter(c, model, path) for path, _ in options.lora]
        context = _open_context(c, model, options, cells, (slots, outputs), (callback, abort_flag))
        _set_adapters(c, context, adapters, [scale for _, scale in options.lora])
    except BackendError:
        c.llama_model_free(model)
        raise
    info = _info(c, model, context, metadata, options.model, n_ctx, token_bytes)
    return Loaded(c, model, context, metadata, info, residency, slots, outputs, callback)


def load_error(path: str, reason: str) -> BackendError:
    """MODEL_LOAD for the model at `path`."""
    return BackendError(Code.MODEL_LOAD, f"cannot load the model {path}: {reason}")


def check_file(path: str) -> None:
    """The mistakes that llama.cpp has no clear words for. Raises BackendError (MODEL_LOAD)."""
    try:
        with Path(path).expanduser().open("rb") as stream:
            magic = stream.read(4)
    except OSError as error:
        raise load_error(path, f"{error.strerror or error}. Check the path in the configuration.") from None
    if magic != b"GGUF":
        raise load_error(path, "it does not begin like a GGUF file. Was it fetched completely, and is it one?")


def open_model(c: Any, options: EngineOptions, on_progress: Callable[[float], bool]) -> Any:
    """llama.cpp's model at `options.model`, of any kind. Raises BackendError (MODEL_LOAD)."""
    params = c.llama_model_default_params()
    params.n_gpu_layers, params.main_gpu = options.n_gpu_layers, options.main_gpu
    params.split_mode = getattr(c, f"LLAMA_SPLIT_MODE_{options.split_mode.upper()}")
    params.load_mode = getattr(c, f"LLAMA_LOAD_MODE_{_LOAD_MODES[options.mmap, options.mlock]}")
    repack = options.repack_weights
    params.use_extra_bufts = repack == "on" or (repack == "auto" and not crashes_repacked(c))
    callback = c.llama_progress_callback(lambda part, _data: on_progress(part))
    params.progress_callback = callback
    model = c.llama_model_load_from_file(str(Path(options.model).expanduser()).encode(), params)
    if not model:
        reason = complaint() or "llama.cpp gave no reason"
        raise load_error(options.model, f"{reason}. The file may be damaged: fetch it again.")
    return model


def _read_metadata(c: Any, model: Any) -> dict[str, str]:
    """The GGUF's keys as text, without the vocabulary; arrays as llama.cpp prints them."""
    found: dict[str, str] = {}
    for index in range(c.llama_model_meta_count(model)):
        key = _c_text(partial(c.llama_model_meta_key_by_index, model, index))
        if not key.startswith("tokenizer.ggml.") or key.rpartition(".")[2] in ("model", "pre", "add_space_prefix"):
            found[key] = _c_text(partial(c.llama_model_meta_val_str_by_index, model, index))
    return found


def _token_bytes(c: Any, model: Any, metadata: dict[str, str], options: EngineOptions) -> int:
    """Bytes that a cell of the KV cache costs."""
    architecture = metadata.get("general.architecture", "")
    default = int(c.llama_model_n_embd(model)) // max(1, int(c.llama_model_n_head(model)))
    key = int(metadata.get(f"{architecture}.attention.key_length", default))
    value = int(metadata.get(f"{architecture}.attention.value_length", default))
    layers, kv_heads = int(c.llama_model_n_layer(model)), int(c.llama_model_n_head_kv(model))
    return bytes_per_token(layers, kv_heads, (key + value) // 2, options.kv_type)


def _plan(c: Any, model: Any, options: EngineOptions, token_bytes: int) -> tuple[int, int]:
    """Tokens that one sequence may have, and that the cache holds. Raises BackendError (MODEL_LOAD)."""
    # the weights are mapped from the file, so they are not yet missing from what is free
    memory = None if c.llama_supports_gpu_offload() else available_memory()
    left = memory and max(0, memory - int(c.llama_model_size(model)))
    try:
        return plan(options, int(c.llama_model_n_ctx_train(model)), token_bytes, left)
    except ValueError as error:
        raise load_error(options.model, str(error)) from None


def _residency(c: Any, model: Any, options: EngineOptions) -> Residency:
    """Where prefixes are kept. Memories that have no parts to keep have checkpoints: see `Runner.is_divisible`."""
    if options.kv_residency == "none" or c.llama_model_is_recurrent(model) or c.llama_model_is_hybrid(model):
        return "none"
    if c.llama_model_n_swa(model):
        return "none"
    if options.kv_residency != "auto":
        return options.kv_residency
    return "device" if options.n_gpu_layers and c.llama_supports_gpu_offload() else "host"


def _flash_attention(c: Any, model: Any, options: EngineOptions, cells: int) -> FlashAttention:
    """What to ask llama.cpp for. "auto" is "off" on a CPU where the memory for it is bearable, unless what counts is
    what several streams get done together.

    On a CPU flash attention is quick for batches of 64 tokens and more only (ggml's tiled kernel). Decoding is 2 to 4
    times slower with it at a depth of 1,400 tokens, and so are the short ends of prompts that the cache leaves over.
    But it passes by the cells of other sequences, of which each row reads all without it: 32 prompts of 160 tokens and
    answers of 43, 8 at a time, took 7.9 s with it and 12.7 without (125M parameters, 2 cores; 1.7 and 2.1 with 6M).
    """
    scores = 4 * cells * min(options.n_ubatch, options.n_batch) * int(c.llama_model_n_head(model))
    on_cpu = not options.n_gpu_layers or not c.llama_supports_gpu_offload()
    quantized = options.kv_type not in ("f32", "f16", "bf16")
    crowded = options.objective == "throughput" and options.max_streams > 1
    if options.flash_attention == "auto" and on_cpu and not quantized and not crowded and scores <= MAX_SCORES:
        return "off"
    return options.flash_attention


def _open_context(
    c: Any, model: Any, options: EngineOptions, cells: int, slots_outputs: tuple[int, int], abort: tuple[Any, int]
) -> Any:
    params = c.llama_context_default_params()
    params.n_ctx = cells
    params.n_batch, params.n_ubatch = options.n_batch, min(options.n_ubatch, options.n_batch)
    params.n_seq_max, params.n_outputs_max = slots_outputs  # it asserts that every sequence may have an output
    params.swa_full = True  # so that windows seldom miss what a draft or an aborted step has passed (Runner.remove)
    threads = options.n_threads or threads_for(int(c.llama_model_size(model)), physical_cores())
    params.n_threads = params.n_threads_batch = threads
    params.flash_attn_type = _FLASH[_flash_attention(c, model, options, cells)]
    params.type_k = params.type_v = getattr(c, f"GGML_TYPE_{options.kv_type.upper()}")
    params.kv_unified = True
    params.abort_callback, params.abort_callback_data = abort
    context = c.llama_init_from_model(model, params)
    if not context:
        reason = complaint() or "llama.cpp gave no reason"
        settings = f"{cells:,} tokens of KV cache in {options.kv_type}, flash attention {options.flash_attention}"
        raise load_error(options.model, f"no context could be made: {reason} ({settings})")
    if not c.llama_get_memory(context):  # an encoder, which llama.cpp takes for a decoder (BERT)
        c.llama_free(context)
        raise load_error(options.model, NO_CHAT)
    return context


def _open_adapter(c: Any, model: Any, path: str) -> Any:
    """The LoRA adapter at `path`; it is freed with the model. Raises BackendError (MODEL_LOAD)."""
    check_file(path)
    adapter = c.llama_adapter_lora_init(model, str(Path(path).expanduser()).encode())
    if not adapter:
        reason = complaint() or "llama.cpp gave no reason"
        raise load_error(path, f"it is no LoRA adapter of this model: {reason}. Take it out of lora, or mend it.")
    return adapter


def _set_adapters(c: Any, context: Any, adapters: list[Any], scales: list[float]) -> None:
    if adapters:
        count = len(adapters)
        pointers, factors = (c.llama_adapter_lora_p_ctypes * count)(*adapters), (ctypes.c_float * count)(*scales)
        c.llama_set_adapters_lora(context, pointers, count, factors)


def _info(
    c: Any, model: Any, context: Any, metadata: dict[str, str], path: str, n_ctx: int, token_bytes: int
) -> ModelInfo:
    return ModelInfo(
        name=metadata.get("general.name") or Path(path).stem,
        path=path,
        description=_c_text(partial(c.llama_model_desc, model)),
        n_params=int(c.llama_model_n_params(model)),
        size=int(c.llama_model_size(model)),
        n_ctx_train=int(c.llama_model_n_ctx_train(model)),
        n_ctx=n_ctx,
        kv_cells=int(c.llama_n_ctx(context)),
        kv_bytes_per_token=token_bytes,
    )


def _c_text(call: Callable[[Any, int], int]) -> str:
    """The text that a C function writes into a buffer, whose length it returns."""
    buffer = ctypes.create_string_buffer(1024)
    length = call(buffer, len(buffer))
    if length >= len(buffer):
        buffer = ctypes.create_string_buffer(length + 1)
        call(buffer, len(buffer))
    return buffer.value.decode("utf-8", "replace")
