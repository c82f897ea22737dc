"""Write a trained network as GGUF (Q8_0) and record what the tests compare it with.

``python -m backends.demo.export_gguf`` exports both runs and rewrites the fixtures: token ids
by the `tokenizers` library and logits by PyTorch (of the weights as rounded to Q8_0, so that a difference is a
difference of arithmetic). Format notes: llama.cpp wants the rows of q and k interleaved (real, imaginary, real, ...);
the pre-tokenizer named ``smollm`` is single digits plus byte-level BPE without a prefix space.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt
import torch

from backends.demo import DRAFT, MODEL
from backends.demo.corpus import Corpus
from backends.demo.network import Network, Shape
from backends.demo.tokenizer import CHAT_TEMPLATE, CONTROL, END, END_OF_TEXT, MARKERS, Vocabulary
from backends.demo.train import WORK, trained, vocabulary

FIXTURES = Path(__file__).resolve().parents[2] / "tests" / "demo" / "fixtures"
CONTEXT = 4096
LOGIT_COLUMNS = 24
SAMPLES = (
    "Can I pause my annual subscription?",
    "Annual plans can be paused once a year for up to 3 months. [S1]",
    "[S1] Plans > Prices: Solo costs 9 euros per month. [/S1]",
    " leading space, trailing space ",
    "two  spaces   three\n\nnew lines\n",
    "\ttab\r\nCRLF",
    "1234567890 3.14 1,000 2026-11-22 v2x10",
    "don't, it's, we'll, I'm, you've, they'd, DON'T",
    "Grüße aus Köln, naïve café, Ångström",
    "日本語のテキスト",
    "Привет, мир!",
    "emoji 😀👍🏽 and flags 🇫🇷",
    "zero​width and nbsp here",
    "مرحبا بالعالم",
    "code: for (int i = 0; i < 10; ++i) { x[i] += 2; }",
    "**bold** _it_ `code` # heading\n- item\n1. item",
    "<|im_start|>system\nspecials as plain text<|im_end|>",
    "<|endoftext|>",
    "[S9] [S12] [s1] [ S1 ] [/S8][S8]",
    "billing@larkspur.example",
    "Settings > Billing > Invoices",
    "UPPER lower MiXeD camelCase snake_case",
    "!!! ??? ... -- --- ;;; :-)",
    "$9.99 €5 £3 50% #1 @you &c.",
    "a",
    "",
    "…“quotes” ‘single’ – en — em",
    "e\u0301 combining, \u00e9 composed",
    "9 euros12 pounds",
    "the the the the",
)


def _permuted(weight: npt.NDArray[np.float32], heads: int) -> npt.NDArray[np.float32]:
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def _tensors(network: Network) -> dict[str, npt.NDArray[np.float32]]:
    """The network's parameters under llama.cpp's names."""
    shape = network.shape
    state = {name: value.float().numpy() for name, value in network.state_dict().items()}
    out = {
        "token_embd.weight": state["embedding.weight"] * network.input_scale,
        "output.weight": state["embedding.weight"],
        "output_norm.weight": state["norm.weight"],
    }
    names = {"norm_1": "attn_norm", "norm_2": "ffn_norm", "gate": "ffn_gate", "up": "ffn_up", "down": "ffn_down"}
    names |= {f"attention.{x}": f"attn_{x}" for x in "qkv"} | {"attention.o": "attn_output"}
    for layer in range(shape.layers):
        for ours, theirs in names.items():
            value = state[f"blocks.{layer}.{ours}.weight"]
            if ours in ("attention.q", "attention.k"):
                value = _permuted(value, shape.heads if ours.endswith("q") else shape.kv_heads)
            out[f"blk.{layer}.{theirs}.weight"] = value
    return out


def write_model(network: Network, vocab: Vocabulary, path: Path, name: str) -> None:
    """Write `network` and its tokenizer to `path`; matrices in Q8_0, norms in F32."""
    shape = network.shape
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(name)
    writer.add_description("Demo model of llmchat: billing support from given sources, trained on generated text")
    writer.add_license("mit")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.hidden)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head)
    writer.add_value_length(shape.head)
    writer.add_rope_dimension_count(shape.head)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_layer_norm_rms_eps(shape.eps)
    writer.add_vocab_size(shape.vocab)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_float32("general.sampling.temp", 0.0)  # greedy unless asked otherwise: it is trained to copy
    _write_tokenizer(writer, vocab)
    for tensor, value in _tensors(network).items():
        if value.ndim == 1:
            writer.add_tensor(tensor, np.ascontiguousarray(value, dtype=np.float32))
        else:
            quantized = gguf.quantize(np.ascontiguousarray(value), gguf.GGMLQuantizationType.Q8_0)
            writer.add_tensor(tensor, quantized, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _write_tokenizer(writer: gguf.GGUFWriter, vocab: Vocabulary) -> None:
    data = json.loads(vocab.tokenizer.to_str())["model"]
    tokens = sorted(data["vocab"], key=data["vocab"].__getitem__)
    kinds = [
        gguf.TokenType.CONTROL
        if t in CONTROL
        else gguf.TokenType.USER_DEFINED
        if t in MARKERS
        else gguf.TokenType.NORMAL
        for t in tokens
    ]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in data["merges"]])
    writer.add_bos_token_id(CONTROL.index(END_OF_TEXT))
    writer.add_eos_token_id(CONTROL.index(END))
    writer.add_eot_token_id(CONTROL.index(END))
    writer.add_pad_token_id(CONTROL.index(END_OF_TEXT))
    writer.add_add_bos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def rounded(network: Network) -> Network:
    """A copy of `network` whose weights are what its Q8_0 file holds (the scaled embedding rounds the same)."""
    q8 = gguf.GGMLQuantizationType.Q8_0
    copy = Network(Shape(**network.shape.as_dict()))  # type: ignore[arg-type]
    state = {}
    for name, value in network.state_dict().items():
        array = value.float().numpy()
        state[name] = torch.from_numpy(gguf.dequantize(gguf.quantize(array, q8), q8) if array.ndim == 2 else array)
    copy.load_state_dict(state)
    copy.eval()
    return copy


def prompt_ids(vocab: Vocabulary, messages: list[dict[str, str]]) -> list[int]:
    """The ids of a conversation, up to where the answer begins."""
    ids = [i for message in messages for i in vocab.turn(message["role"], message["content"])]
    return ids + vocab.opening("assistant")


@torch.no_grad()
def logit_fixture(network: Network, vocab: Vocabulary, prompts: int = 3) -> list[dict[str, object]]:
    """For a few prompts with their answers: the ids, and per answer position top-1 and every 85th logit."""
    corpus = Corpus(77, held_out=True)
    columns = list(range(0, network.shape.vocab, network.shape.vocab // LOGIT_COLUMNS))[:LOGIT_COLUMNS]
    rows: list[dict[str, object]] = []
    for _ in range(prompts):
        tree = corpus.handbook_tree(1, count=2, history=False)
        start = prompt_ids(vocab, tree.messages(tree.branches[0]))
        ids = start + vocab.encode(tree.branches[0].answer)
        logits = network(torch.tensor([ids]))[0, len(start) - 1 :]
        rows.append(
            {
                "ids": ids,
                "first": len(start) - 1,
                "columns": columns,
                "top": logits.argmax(-1).tolist(),
                "logits": [[round(x, 3) for x in row] for row in logits[:, columns].tolist()],
            }
        )
    return rows


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=WORK, help="folder of checkpoints and the tokenizer")
    parser.add_argument("--average", action="store_true", help="take the averaged weights, for an unfinished run")
    args = parser.parse_args()
    vocab = vocabulary(args.work)
    FIXTURES.mkdir(parents=True, exist_ok=True)
    tokens = [{"text": text, "ids": vocab.encode(text)} for text in SAMPLES]
    (FIXTURES / "tokens.json").write_text(json.dumps(tokens, ensure_ascii=True, indent=0) + "\n", "utf-8")
    fixture: dict[str, object] = {}
    for key, path, name in (("target", MODEL, "llmchat demo"), ("draft", DRAFT, "llmchat demo draft")):
        run = args.work / f"{key}.pt"
        if not run.exists():
            continue
        network = trained(run, average=args.average)
        write_model(network, vocab, path, name)
        fixture[key] = logit_fixture(rounded(network), vocab)
        print(
            f"{path.name}: {path.stat().st_size / 1e6:.2f} MB, {sum(p.numel() for p in network.parameters()):,} weights"
        )
    (FIXTURES / "logits.json").write_text(json.dumps(fixture) + "\n", "utf-8")


if __name__ == "__main__":
    main()
