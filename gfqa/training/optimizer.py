"""Muon for the matrices inside the blocks, AdamW for everything else; float32 masters of bfloat16 weights.

Muon (momentum, then an approximate orthogonalisation of the update) works on whole matrices; same-shaped matrices are
stacked so that a step is a handful of batched products. With `round_weights` the model computes with its shipped form while
the masters keep the small steps: the gradient passes straight through the rounding.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

MATRIX = re.compile(r"blocks\.\d+\.(att\.(receptance|key|value|gate|query|output)|ffn\.(key|receptance|value))\.weight")
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of the quintic iteration that takes singular values in (0, 1] near 1."""


@dataclass(frozen=True)
class OptimizerConfig:
    """Peak learning rates; the schedule multiplies all of them."""

    muon_lr: float = 0.02
    adam_lr: float = 2e-3
    embedding_lr: float = 2e-3
    momentum: float = 0.95
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.02
    clip: float = 1.0
    use_muon: bool = True


def orthogonalised(update: Tensor, steps: int = 5) -> Tensor:
    """About the nearest semi-orthogonal matrix to each of [n, rows, columns], in bfloat16."""
    a, b, c = NEWTON_SCHULZ
    x = update.bfloat16()
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


def shipped_form(value: Tensor, *, stacked: bool = False) -> Tensor:
    """A parameter as it comes back from the shipped file (`model.checkpoint.quantised`), float32.

    value: one parameter; with `stacked`, same-shaped ones along a first dimension.
    """
    value = value.float()
    one = value[0] if stacked else value
    if one.dim() >= 2 and one.numel() >= 4096:
        scale = (value.abs().amax(dim=-1, keepdim=True) / 127).clamp(min=6.2e-5).half().float()
        return torch.round(value / scale).clamp(-127, 127) * scale
    return value.half().float()


class Optimizer:
    """Updates a model's parameters from their gradients; `lr_factor` is the schedule's value of the moment."""

    def __init__(self, model: nn.Module, config: OptimizerConfig, more: Iterable[tuple[str, Tensor]] = ()) -> None:
        """more: (name, parameter) of what is trained beside the model; AdamW's."""
        self.config = config
        self.steps = 0
        self.round_weights = False
        by_shape: dict[tuple[int, ...], list[tuple[str, Tensor]]] = defaultdict(list)
        others: list[tuple[str, Tensor]] = []
        for name, parameter in model.named_parameters():
            if config.use_muon and MATRIX.fullmatch(name):
                by_shape[tuple(parameter.shape)].append((name, parameter))
            else:
                others.append((name, parameter))
        others += more
        self.stack_names = [[name for name, _ in named] for named in by_shape.values()]
        self.stacks = [
            (
                [p for _, p in named],
                torch.stack([p.detach().float() for _, p in named]),
                torch.zeros(len(named), *shape, device=named[0][1].device),
            )
            for shape, named in by_shape.items()
        ]
        self.adam_names = [name for name, _ in others]
        self.adam = [p for _, p in others]
        self.adam_rate = [
            config.embedding_lr
            if name == "emb.weight"
            else config.adam_lr * (2.0 if name.endswith("time_decay") else 1.0)
            for name, _ in others
        ]
        self.adam_decay = [config.weight_decay if p.dim() == 2 and p.numel() > 65536 else 0.0 for p in self.adam]
        self.master = [p.detach().float().clone() for p in self.adam]
        self.first = [torch.zeros_like(m) for m in self.master]
        self.second = [torch.zeros_like(m) for m in self.master]

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """(name, tensor) of everything that a step changes: masters and moments, float32. The tensors are the live ones."""
        for names, (_, master, momentum) in zip(self.stack_names, self.stacks):
            for i, name in enumerate(names):
                yield f"{name}.master", master[i]
                yield f"{name}.momentum", momentum[i]
        for name, master, first, second in zip(self.adam_names, self.master, self.first, self.second):
            yield from ((f"{name}.master", master), (f"{name}.first", first), (f"{name}.second", second))

    @torch.no_grad()
    def publish(self) -> None:
        """Write the masters into the model's parameters, in their shipped form where `round_weights`."""
        for params, master, _ in self.stacks:
            published = shipped_form(master, stacked=True) if self.round_weights else master
            torch._foreach_copy_(params, list(published.unbind(0)))
        others = self.master
        if self.round_weights:
            # Base decays are shipped as they are.
            others = [m if n.endswith("time_decay") else shipped_form(m) for n, m in zip(self.adam_names, self.master)]
        torch._foreach_copy_(self.adam, others)

    @torch.no_grad()
    def step(self, lr_factor: float) -> Tensor:
        """One update; returns the gradient norm before clipping (a tensor, so that nothing waits for it)."""
        config, self.steps = self.config, self.steps + 1
        grads = [p.grad for params, _, _ in self.stacks for p in params] + [p.grad for p in self.adam]
        present = [g for g in grads if g is not None]
        norm = torch.stack(torch._foreach_norm(present)).float().norm()
        scale = (config.clip / (norm + 1e-6)).clamp(max=1.0)
        for params, master, momentum in self.stacks:
            gradient = torch.stack([p.grad if p.grad is not None else torch.zeros_like(p) for p in params]).float()
            momentum.mul_(config.momentum).add_(gradient, alpha=1 - config.momentum)
            update = orthogonalised(gradient.lerp(momentum, config.momentum)).float()
            rate = config.muon_lr * lr_factor
            master.mul_(1 - rate * config.weight_decay)
            master.add_(update, alpha=-rate * max(1.0, master.shape[-2] / master.shape[-1]) ** 0.5)
        gradients = [
            torch.zeros_like(m) if p.grad is None else p.grad.float() * scale for p, m in zip(self.adam, self.master)
        ]
        beta1, beta2 = config.betas
        torch._foreach_lerp_(self.first, gradients, 1 - beta1)
        torch._foreach_mul_(self.second, beta2)
        torch._foreach_addcmul_(self.second, gradients, gradients, 1 - beta2)
        correct1, correct2 = 1 - beta1**self.steps, 1 - beta2**self.steps
        root = torch._foreach_sqrt(self.second)
        torch._foreach_div_(root, correct2**0.5)
        torch._foreach_add_(root, 1e-8)
        update_list = torch._foreach_div(self.first, root)
        rates = [r * lr_factor for r in self.adam_rate]
        torch._foreach_mul_(self.master, [1 - r * d for r, d in zip(rates, self.adam_decay)])
        torch._foreach_mul_(update_list, [-r / correct1 for r in rates])
        torch._foreach_add_(self.master, update_list)
        self.publish()
        return norm


def average_gradients(parameters: Sequence[Tensor], world: int) -> None:
    """All-reduce the gradients of every rank, as one buffer a dtype."""
    if world == 1:
        return
    by_dtype: dict[torch.dtype, list[Tensor]] = {}
    for p in parameters:
        if p.grad is None:
            p.grad = torch.zeros_like(p)
        by_dtype.setdefault(p.grad.dtype, []).append(p.grad)
    for gradients in by_dtype.values():
        flat = torch.cat([g.flatten() for g in gradients])
        if flat.is_cuda:
            dist.all_reduce(flat, op=dist.ReduceOp.AVG)
        else:
            dist.all_reduce(flat)
            flat /= world
        offset = 0
        for g in gradients:
            g.copy_(flat[offset : offset + g.numel()].view_as(g))
            offset += g.numel()
