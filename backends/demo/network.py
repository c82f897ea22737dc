"""The Llama network in PyTorch, small enough to read: RMSNorm, rotary attention with grouped heads, SwiGLU.

Used for training only. Sequences are *trees*: a prefix (system prompt, sources) followed by several branches (question
and answer), each of which sees the prefix and itself but no other branch, at positions that continue the prefix. One
context is computed once and answers many questions.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Shape:
    """The sizes of a network; `head` is the width of one attention head, `hidden` that of the SwiGLU layer."""

    vocab: int = 2048
    width: int = 256
    layers: int = 6
    heads: int = 8
    kv_heads: int = 4
    head: int = 32
    hidden: int = 640
    context: int = 4096
    rope_base: float = 50_000.0
    eps: float = 1e-5

    def as_dict(self) -> dict[str, float | int]:
        return asdict(self)


def rope_tables(shape: Shape, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Return (cos, sin), each (batch, 1, length, head / 2), for integer `positions` (batch, length)."""
    steps = torch.arange(0, shape.head, 2, dtype=torch.float32, device=positions.device) / shape.head
    angle = positions.float()[:, None, :, None] * shape.rope_base ** (-steps)
    return angle.cos(), angle.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding in the half-split layout (first half real, second half imaginary), as Hugging Face's Llama."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


def tree_mask(branches: Tensor) -> Tensor:
    """Return the additive mask (batch, 1, length, length) of `branches` (batch, length): 0 prefix, -1 padding."""
    length = branches.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=branches.device).tril()
    keys, queries = branches[:, None, :], branches[:, :, None]
    allowed = causal & ((keys == 0) | (keys == queries)) & ((keys >= 0) | (queries < 0))
    return torch.zeros(allowed.shape, device=branches.device).masked_fill_(~allowed, float("-inf"))[:, None]


class Norm(nn.Module):
    """RMSNorm."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        x = x.float()
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight


class Attention(nn.Module):
    """Attention over (batch, length, width), groups of query heads sharing a head of keys and values."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.q = nn.Linear(shape.width, shape.heads * shape.head, bias=False)
        self.k = nn.Linear(shape.width, shape.kv_heads * shape.head, bias=False)
        self.v = nn.Linear(shape.width, shape.kv_heads * shape.head, bias=False)
        self.o = nn.Linear(shape.heads * shape.head, shape.width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor) -> Tensor:
        batch, length, _ = x.shape
        s = self.shape
        q = self.q(x).view(batch, length, s.heads, s.head).transpose(1, 2)
        k = self.k(x).view(batch, length, s.kv_heads, s.head).transpose(1, 2)
        v = self.v(x).view(batch, length, s.kv_heads, s.head).transpose(1, 2)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        repeat = s.heads // s.kv_heads
        k, v = k.repeat_interleave(repeat, 1), v.repeat_interleave(repeat, 1)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask.to(q.dtype))
        return self.o(y.transpose(1, 2).reshape(batch, length, s.heads * s.head))


class Block(nn.Module):
    """Attention and SwiGLU, each on the normalised states and added to them."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.norm_1 = Norm(shape.width, shape.eps)
        self.attention = Attention(shape)
        self.norm_2 = Norm(shape.width, shape.eps)
        self.gate = nn.Linear(shape.width, shape.hidden, bias=False)
        self.up = nn.Linear(shape.width, shape.hidden, bias=False)
        self.down = nn.Linear(shape.hidden, shape.width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor) -> Tensor:
        x = x + self.attention(self.norm_1(x), cos, sin, mask)
        h = self.norm_2(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


class Network(nn.Module):
    """Token ids to logits. The output matrix is the embedding; the input side is scaled by `input_scale`."""

    input_scale = 16.0

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocab, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = Norm(shape.width, shape.eps)
        self.reset()

    def reset(self) -> None:
        """Initialise: 1 / sqrt(fan in), output projections smaller with depth."""
        for name, p in self.named_parameters():
            if p.ndim == 2:
                std = 1 / 16 if name.startswith("embedding") else p.shape[1] ** -0.5
                if name.endswith(("o.weight", "down.weight")):
                    std /= (2 * self.shape.layers) ** 0.5
                nn.init.normal_(p, std=std)

    def hidden(self, tokens: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        """Return the normalised states (batch, length, width) before the output matrix."""
        cos, sin = rope_tables(self.shape, positions)
        x = self.embedding(tokens) * self.input_scale
        for block in self.blocks:
            x = block(x, cos, sin, mask)
        return self.norm(x)

    def logits(self, states: Tensor) -> Tensor:
        return F.linear(states, self.embedding.weight)

    def forward(self, tokens: Tensor, positions: Tensor | None = None, branches: Tensor | None = None) -> Tensor:
        """Logits (batch, length, vocab) of `tokens` (batch, length); plain causal text when nothing else is given."""
        if positions is None:
            positions = torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)
        mask = tree_mask(torch.zeros_like(tokens) if branches is None else branches)
        return self.logits(self.hidden(tokens, positions, mask))
