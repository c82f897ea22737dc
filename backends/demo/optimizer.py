"""Muon for matrices (orthogonalised momentum, https://kellerjordan.github.io/posts/muon/), AdamW for the rest."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor, nn


def orthogonalize(update: Tensor, steps: int = 5) -> Tensor:
    """Newton-Schulz iteration on a stack (n, rows, columns), rows <= columns: singular values go to about 1."""
    x = update.bfloat16()
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        a = x @ x.mT
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x.float()


class Optimizer:
    """Both optimizers behind one `step(rate)`; `rate` scales both learning rates."""

    def __init__(self, network: nn.Module, muon: float = 0.02, adam: float = 3e-3, decay: float = 0.01) -> None:
        matrices = [p for n, p in network.named_parameters() if p.ndim == 2 and not n.startswith("embedding")]
        rest = [p for n, p in network.named_parameters() if p.ndim != 2 or n.startswith("embedding")]
        self.groups: dict[tuple[int, ...], list[nn.Parameter]] = defaultdict(list)
        for p in matrices:
            self.groups[tuple(p.shape)].append(p)
        self.momenta = {
            shape: torch.zeros(len(group), *shape, device=group[0].device) for shape, group in self.groups.items()
        }
        self.muon, self.adam_rate, self.decay = muon, adam, decay
        self.adam = torch.optim.AdamW(rest, lr=adam, betas=(0.9, 0.98), weight_decay=0.0)

    def step(self, rate: float) -> None:
        with torch.no_grad():
            self._matrices(rate)
        for group in self.adam.param_groups:
            group["lr"] = self.adam_rate * rate
        self.adam.step()
        self.adam.zero_grad(set_to_none=True)

    def _matrices(self, rate: float) -> None:
        for shape, group in self.groups.items():
            gradient = torch.stack([p.grad for p in group if p.grad is not None])
            momentum = self.momenta[shape]
            momentum.lerp_(gradient, 0.05)
            update = gradient.lerp(momentum, 0.95)
            tall = shape[0] > shape[1]
            update = orthogonalize(update.mT if tall else update)
            update = update.mT if tall else update
            scale = max(1.0, shape[0] / shape[1]) ** 0.5 * self.muon * rate
            for p, u in zip(group, update, strict=True):
                p.mul_(1 - self.decay * self.muon * rate).sub_(u, alpha=scale)
                p.grad = None

    def state(self) -> dict[str, Any]:
        return {"momenta": self.momenta, "adam": self.adam.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        self.momenta = {shape: kept.to(self.momenta[shape].device) for shape, kept in state["momenta"].items()}
        self.adam.load_state_dict(state["adam"])
