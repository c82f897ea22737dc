"""A hand-built start for copying: an induction circuit written into the first two layers before any training.

Layer 0, head 0 looks at the previous token, by position alone, and writes a projection of it beside the current one.
Layer 1, every head looks for the place whose *previous* token is the current one and copies what stands there
(Olsson et al. 2022, https://arxiv.org/abs/2209.11895). Training is free to change all of it; without it, copying
appears only after several million tokens.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from backends.demo.network import Network

PREVIOUS = 64
"""Width of the part of the residual stream that holds the previous token at the start."""
_POSITION_PAIRS = 6
_MATCH_PAIRS = 12
_POSITION_GAIN, _MATCH_GAIN, _COPY_GAIN = 3.5, 3.0, 4.0


def _orthonormal(rows: int, columns: int) -> Tensor:
    """`rows` orthonormal rows of `columns`, rows <= columns."""
    q, _ = torch.linalg.qr(torch.randn(columns, rows))
    return q.T.contiguous()


@torch.no_grad()
def build(network: Network) -> None:
    """Write the circuit into `network`; its other weights stay as they were drawn."""
    shape = network.shape
    head, pairs = shape.head, shape.head // 2
    known = shape.width - PREVIOUS
    embedding = network.embedding.weight
    embedding[:, known:] = 0
    embedding[:, 0] = 2 / network.input_scale
    projection = _orthonormal(min(PREVIOUS, head), known) * math.sqrt(known / PREVIOUS)

    first = network.blocks[0].attention
    angle = shape.rope_base ** (-torch.arange(_POSITION_PAIRS) * 2 / head)
    first.q.weight[:head] = 0
    first.k.weight[:head] = 0
    first.q.weight[:_POSITION_PAIRS, 0] = _POSITION_GAIN
    first.k.weight[:_POSITION_PAIRS, 0] = _POSITION_GAIN * angle.cos()
    first.k.weight[pairs : pairs + _POSITION_PAIRS, 0] = _POSITION_GAIN * angle.sin()
    first.v.weight[:head] = 0
    first.v.weight[: len(projection), :known] = projection
    first.o.weight[known:] = 0
    first.o.weight[:, :head] = 0
    first.o.weight[known : known + len(projection), : len(projection)] = torch.eye(len(projection))

    second = network.blocks[1].attention
    slow = torch.cat([torch.arange(pairs - _MATCH_PAIRS, pairs), torch.arange(head - _MATCH_PAIRS, head)])
    part = known // shape.heads
    for number in range(shape.heads):
        rows = slice(number * head, (number + 1) * head)
        match = _orthonormal(len(slow), len(projection)) * _MATCH_GAIN
        query, key, value = (torch.zeros(head, shape.width) for _ in range(3))
        query[slow, :known] = match @ projection
        key[slow, known : known + len(projection)] = match
        copied = torch.arange(part)
        value[copied, number * part + copied] = 1
        second.q.weight[rows] = query
        second.k.weight[rows] = key
        second.v.weight[rows] = value
        out = torch.zeros(shape.width, head)
        out[number * part + copied, copied] = _COPY_GAIN
        second.o.weight[:, rows] = out
