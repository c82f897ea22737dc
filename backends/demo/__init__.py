"""The embedded demo model, its draft, and the sample billing documents it answers from.

Only paths live here; how the files were made is in README.md beside them, and needs PyTorch. The product does not.
"""

from pathlib import Path

_HERE = Path(__file__).parent

MODEL: Path = _HERE / "llmchat-demo.gguf"
"""The target model: Llama architecture, Q8_0."""

DRAFT: Path = _HERE / "llmchat-demo-draft.gguf"
"""A smaller model of the same tokenizer, for speculative decoding."""

DOCUMENTS: Path = _HERE / "documents"
"""A folder of Markdown files: the billing handbook of a company that does not exist."""

WORD_VECTORS: Path = _HERE / "word-vectors.npz"
"""What customers mean by their words, as vectors: the sample documents are also found by it."""

WORD_VECTORS_FLOOR = 0.35
"""The cosine similarity up to which a question and a passage have nothing to do with each other there."""
