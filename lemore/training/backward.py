"""The gradient of one step: of the whole batch at once, or of one part of it after the other."""

from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler

from lemore.training.step import spread

Batch = dict[str, Tensor]


def backward(
    loss: Callable[[nn.Module, Batch], Tensor],
    model: nn.Module,
    batch: Batch,
    micro_batch: int,
    scaler: GradScaler,
) -> Tensor:
    """Adds the gradient of `loss(model, batch)`, a mean over the batch; returns the loss, detached.

    The batch is taken in parts of at most `micro_batch` samples (0: whole), each weighted by its
    size. Workers average their gradients after the last part only.
    """
    parts = split(batch, micro_batch)
    alone = getattr(model, "no_sync", nullcontext)  # of several workers
    losses = []
    for part in parts:
        with alone() if part is not parts[-1] else nullcontext():
            mean = loss(model, part)
            if len(parts) > 1:
                mean = mean * (_size(part) / _size(batch))
            scaler.scale(spread(mean)).backward()
        losses.append(mean.detach())
    return torch.stack(losses).sum()


def split(batch: Batch, micro_batch: int) -> list[Batch]:
    """Parts of at most `micro_batch` samples, in order."""
    if not micro_batch or _size(batch) <= micro_batch:
        return [batch]
    columns = {name: values.split(micro_batch) for name, values in batch.items()}
    return [dict(zip(columns, parts, strict=True)) for parts in zip(*columns.values(), strict=True)]


def _size(batch: Batch) -> int:
    return len(next(iter(batch.values())))
