"""Learning from a teacher's predictions."""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from lemore.config.labels import IGNORE


def compute_distillation_loss(
    logits: Tensor,
    taught: Tensor,
    label: Tensor,
    temperature: float,
    average: Literal["all_pixels", "valid_pixels"],
) -> Tensor:
    """Kullback-Leibler divergence of a network's softened predictions from its teacher's, times
    temperature^2, so that the gradient keeps its size (Hinton et al., "Distilling the knowledge in
    a neural network", 2015).

    logits: B K h w float. taught: the teacher's, B K h' w', resized to h w (bilinear,
    align_corners=False). label: B H W, train ids; a position of h w counts unless the label at its
    centre is ignored (255). average: over all positions, or over those that count; 0 where there
    are none. Returns a scalar.
    """
    size = logits.shape[2:]
    if taught.shape[2:] != size:
        taught = F.interpolate(taught, size, mode="bilinear", align_corners=False)
    own, wanted = ((x / temperature).log_softmax(1) for x in (logits, taught))
    each = F.kl_div(own, wanted, reduction="none", log_target=True).sum(1)
    known = (label != IGNORE).unsqueeze(1).to(each.dtype)
    known = F.interpolate(known, size, mode="nearest-exact").squeeze(1)
    number = known.numel() if average == "all_pixels" else known.sum().clamp(min=1)
    return temperature**2 * (each * known).sum() / number
