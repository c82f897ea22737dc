"""What training makes smaller: cross entropy against the text, or against the probabilities of a teacher."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from backends.demo.batches import Batch
from backends.demo.network import Network, tree_mask


class Criterion:
    """The loss of `network` on a batch; with a `teacher`, the distance from what that one would have said.

    `seed`: of the draw of prompt positions that count.
    """

    def __init__(self, network: Network, teacher: Network | None, device: torch.device, seed: int) -> None:
        self._network = network
        self._teacher = teacher
        self._device = device
        self._generator = torch.Generator().manual_seed(seed)
        self._loss = torch.compile(_loss, dynamic=False)
        torch._dynamo.config.cache_size_limit = 64

    def __call__(self, batch: Batch) -> Tensor:
        """The mean loss of the positions that count, to be differentiated."""
        index, targets, weights = (tensor.to(self._device) for tensor in selected(batch, self._generator))
        batch = batch.to(self._device)
        mask = tree_mask(batch.branches).bfloat16()
        if self._teacher is not None:
            with torch.no_grad():
                targets = _logits(self._teacher, batch.tokens, batch.positions, mask, index).softmax(-1)
        loss: Tensor = self._loss(self._network, batch.tokens, batch.positions, mask, index, targets, weights)
        return loss


def _logits(network: Network, tokens: Tensor, positions: Tensor, mask: Tensor, index: Tensor) -> Tensor:
    """The logits (n, vocab) at the `index` (n) into the flattened batch."""
    with torch.autocast(tokens.device.type, dtype=torch.bfloat16):
        states = network.hidden(tokens, positions, mask).flatten(0, 1)[index]
        return network.logits(states).float()


def _loss(
    network: Network, tokens: Tensor, positions: Tensor, mask: Tensor, index: Tensor, targets: Tensor, weights: Tensor
) -> Tensor:
    """Cross entropy, weighted by `weights` (n); `targets` are token ids (n) or probabilities (n, vocab)."""
    losses = F.cross_entropy(_logits(network, tokens, positions, mask, index), targets, reduction="none")
    return (losses * weights).sum() / weights.sum()


def selected(batch: Batch, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Positions that count in the loss: all of the answers, one in eight of the prompts (weighted up for it).

    Padded to a multiple of 4,096 with weight zero, so that the compiled step sees few shapes.
    """
    weights = batch.weights.flatten()
    drawn = torch.rand(weights.shape, generator=generator) < 0.125
    prompt = (weights > 0) & (weights < 0.5)
    weights = torch.where(prompt, weights * drawn, weights)
    index = weights.nonzero().flatten()
    padded = torch.zeros(-(-len(index) // 4096) * 4096, dtype=torch.long)
    padded[: len(index)] = index
    kept = weights[padded]
    kept[len(index) :] = 0
    return padded, batch.targets.flatten()[padded], kept
