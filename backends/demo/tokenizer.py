"""The byte-level BPE tokenizer: trained on generated text, digits on their own, source markers as single tokens.

`Vocabulary` wraps the `tokenizers` library and is used for training and export only; the product uses llama.cpp's
reading of the same vocabulary in the GGUF file.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from backends.demo.corpus import Corpus
from backends.rag.prompt import render_user_turn

SIZE = 2048
END_OF_TEXT, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
CONTROL = (END_OF_TEXT, START, END)
MARKERS = tuple(f"[{slash}S{i}]" for i in range(1, 9) for slash in ("", "/"))
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def _texts(trees: int) -> Iterator[str]:
    corpus = Corpus(seed=11)
    for _ in range(trees):
        tree = corpus.tree(5)
        yield "\n".join(["system", tree.system or "", "user", *(u + "\nassistant\n" + a for u, a in tree.history)])
        yield render_user_turn(tree.sources(), "")
        for branch in tree.branches:
            yield f" {branch.question}"
            yield branch.answer


class Vocabulary:
    """Text to token ids. Text never becomes a control token: those have their own ids."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.start, self.end = CONTROL.index(START), CONTROL.index(END)
        self.newline = self.encode("\n")

    @classmethod
    def train(cls, trees: int = 30_000) -> Vocabulary:
        tokenizer = Tokenizer(models.BPE())
        digits = pre_tokenizers.Digits(individual_digits=True)
        byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, byte_level])
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=SIZE,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            special_tokens=[AddedToken(text, special=True, normalized=False) for text in CONTROL + MARKERS],
            show_progress=False,
        )
        tokenizer.train_from_iterator(_texts(trees), trainer)
        return cls(tokenizer)

    @classmethod
    def load(cls, path: Path) -> Vocabulary:
        """Read a saved tokenizer, with the control tokens taken out of its special tokens (see the class)."""
        import json

        data = json.loads(path.read_text("utf-8"))
        data["added_tokens"] = [token for token in data["added_tokens"] if token["content"] not in CONTROL]
        return cls(Tokenizer.from_str(json.dumps(data)))

    def save(self, path: Path) -> None:
        path.write_text(self.tokenizer.to_str(), "utf-8")

    def encode(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def spans(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """The ids of `text`, and for each where it begins and ends there, in characters."""
        encoded = self.tokenizer.encode(text, add_special_tokens=False)
        return list(encoded.ids), list(encoded.offsets)

    def decode(self, ids: list[int]) -> str:
        return str(self.tokenizer.decode(ids, skip_special_tokens=False))

    def turn(self, role: str, text: str) -> list[int]:
        """The ids of a whole turn, the line break after it included (ChatML)."""
        return [self.start, *self.encode(f"{role}\n"), *self.encode(text), self.end, *self.newline]

    def opening(self, role: str) -> list[int]:
        return [self.start, *self.encode(f"{role}\n")]
