"""Pieces of answers as servers that cannot run here wrote them: field for field as recorded, with words of our own.

`SGLANG`: a stream of SGLang's chat completions with thinking, as published in the tests of a PHP client
(`SglangProvider`: a capture of August 2026, the last chunk of September 2026). None of its streams tells times.

`SGLANG_EXTRAS`: what `return_cached_tokens_details` and `return_spec_tokens_details` add; no published stream has them,
so by SGLang's source (entrypoints/openai/protocol.py, `SglExt`; serving_chat.py: a chunk without choices).

`LM_STUDIO_V0`, `LM_STUDIO_V1`: how LM Studio 0.4.24 logged answers under ``/api/v0`` and ``/v1`` in September 2026, as
published in the tests of a menu bar program (`LMStudioServerLog`). Its documentation shows no streamed `stats`; here
they stand in the last chunk, as clients read them.
"""

from __future__ import annotations

from typing import Any

import msgspec

from tests.fakes.openai_server import data


def _sglang(delta: dict[str, Any], finish_reason: str | None = None, matched_stop: int | None = None) -> bytes:
    empty = {"role": None, "content": None, "reasoning_content": None, "tool_calls": None}
    choice = {
        "index": 0,
        "delta": empty | delta,
        "logprobs": None,
        "finish_reason": finish_reason,
        "matched_stop": matched_stop,
    }
    return _chunk("deepseek-ai/DeepSeek-V4-Flash-0731", choices=[choice], usage=None)


def _chunk(model: str, **fields: Any) -> bytes:
    head = {"id": "669d24a3423f4012bece9b51f2028500", "object": "chat.completion.chunk", "created": 1787195762}
    return data(msgspec.json.encode(head | {"model": model} | fields).decode())


SGLANG = (
    _sglang({"role": "assistant", "content": ""}),
    _sglang({"reasoning_content": "The user"}),
    _sglang({"reasoning_content": " wants one word."}),
    _sglang({"content": "OK"}),
    _sglang({}, "stop", 1),
    _chunk(
        "Qwen/Qwen3.8-Flash-Next",
        choices=[],
        usage={
            "prompt_tokens": 57,
            "total_tokens": 85,
            "completion_tokens": 28,
            "prompt_tokens_details": None,
            "reasoning_tokens": 25,
        },
    ),
    data("[DONE]"),
)

SGLANG_EXTRAS = _chunk(
    "m",
    choices=[],
    usage=None,
    sglext={
        "cached_tokens_details": {"device": 32, "host": 8, "storage": 4, "storage_backend": "file"},
        "spec_tokens_details": {
            "spec_accept_rate": 0.5,
            "spec_accept_length": 2.0,
            "spec_num_correct_drafts": 6,
            "spec_num_proposed_drafts": 12,
            "spec_verify_ct": 6,
        },
    },
)

LM_STUDIO_V0 = _chunk(
    "qwen3.8-27b",
    choices=[],
    usage={
        "prompt_tokens": 66,
        "completion_tokens": 300,
        "total_tokens": 366,
        "completion_tokens_details": {"reasoning_tokens": 300},
        "total_draft_tokens_count": 492,
        "accepted_draft_tokens_count": 176,
        "rejected_draft_tokens_count": 316,
    },
    stats={
        "tokens_per_second": 17.92897117267284,
        "time_to_first_token": 1.162136,
        "generation_time": 17.839055,
        "stop_reason": "maxPredictedTokensReached",
    },
    model_info={"arch": "qwen35", "quant": "Q8_K_XL", "format": "gguf", "context_length": 262144},
    runtime={
        "name": "llama.cpp-mac-arm64-apple-metal-advsimd",
        "version": "2.34.0",
        "supported_formats": ["gguf"],
    },
)

LM_STUDIO_V1 = _chunk(
    "flash-next-test",
    choices=[],
    usage={
        "prompt_tokens": 109,
        "completion_tokens": 171,
        "total_tokens": 280,
        "completion_tokens_details": {"reasoning_tokens": 0},
    },
    stats={"total_draft_tokens_count": 20, "accepted_draft_tokens_count": 17, "rejected_draft_tokens_count": 3},
    system_fingerprint="flash-next-test",
)
