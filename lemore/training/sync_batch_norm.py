"""BatchNorm over the batch of all workers, so that their number changes results by rounding only.

torch's own SyncBatchNorm is for GPUs alone. This one computes the same with one reduction in each
direction and runs wherever torch.distributed does.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


class SyncBatchNorm(nn.BatchNorm2d):
    """nn.BatchNorm2d, in training over the samples of all workers, which have equally many."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        count = input.numel() // input.shape[1] * dist.get_world_size()
        output, mean, variance = _Normalize.apply(input, self.weight, self.bias, self.eps, count)
        assert self.momentum is not None and self.num_batches_tracked is not None
        assert self.running_mean is not None and self.running_var is not None
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / max(count - 1, 1)), self.momentum)
        return output


class _Normalize(torch.autograd.Function):
    """(x - mean) / sqrt(variance + eps) * weight + bias with the statistics of `count` values.

    Sums over the workers are in float64, since the variance is a difference of two of them.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, count: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        variance, mean = (t.double() for t in torch.var_mean(x.float(), (0, 2, 3), correction=0))
        sums = torch.stack([mean, variance + mean.square()]) * (x.numel() // x.shape[1])
        dist.all_reduce(sums)
        mean, square = sums / count
        variance = (square - mean.square()).clamp_(min=0)
        inverse = torch.rsqrt(variance + eps)
        mean, variance, inverse = mean.float(), variance.float(), inverse.float()
        ctx.save_for_backward(x, weight, mean, inverse)
        ctx.count = count
        scale = weight * inverse
        output = torch.addcmul(_unsqueeze(bias - mean * scale), x, _unsqueeze(scale)).to(x.dtype)
        ctx.mark_non_differentiable(mean, variance)
        return output, mean, variance

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        """Returns gradients; those of the weights are this worker's share, as in any layer."""
        x, weight, mean, inverse = ctx.saved_tensors
        grad, normalized = grad.float(), (x - _unsqueeze(mean)) * _unsqueeze(inverse)
        of_bias, of_weight = grad.sum((0, 2, 3)), (grad * normalized).sum((0, 2, 3))
        sums = torch.stack([of_bias, of_weight])
        dist.all_reduce(sums)
        of_mean, of_deviation = sums / ctx.count
        centred = grad - _unsqueeze(of_mean) - normalized * _unsqueeze(of_deviation)
        return (centred * _unsqueeze(weight * inverse)).to(x.dtype), of_weight, of_bias, None, None


def _unsqueeze(channels: Tensor) -> Tensor:
    return channels[:, None, None]


def convert(module: nn.Module) -> nn.Module:
    """Replaces every BatchNorm by a synchronised one; parameters and buffers stay the same."""
    if isinstance(module, nn.BatchNorm2d) and not isinstance(module, SyncBatchNorm):
        synchronised = SyncBatchNorm(module.num_features, module.eps, module.momentum)
        synchronised.__dict__ |= module.__dict__
        return synchronised
    for name, child in module.named_children():
        module.add_module(name, convert(child))
    return module
