"""Photos as networks take them: float32 with ImageNet's mean and deviation."""

from functools import lru_cache

import torch

MEAN = (123.675, 116.28, 103.53)  # ImageNet's, RGB
STD = (58.395, 57.12, 57.375)


def normalize(image: torch.Tensor, valid: torch.Tensor | None) -> torch.Tensor:
    """uint8 B 3 H W to float32: ImageNet mean and deviation, padding exactly 0, on image's device.

    valid: int B 2 (h, w), beyond which there is padding; None where there is none.
    """
    mean, inverse = _make_constants(image.device)
    normalized = image.to(torch.float32).sub_(mean).mul_(inverse)
    if valid is None:
        return normalized
    rows = torch.arange(image.shape[2], device=image.device) >= valid[:, :1]  # B H
    columns = torch.arange(image.shape[3], device=image.device) >= valid[:, 1:]  # B W
    padding = rows[:, None, :, None] | columns[:, None, None, :]
    return normalized.masked_fill_(padding, 0.0)


@lru_cache
@torch.inference_mode(False)
def _make_constants(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns mean and 1 / deviation, 3 1 1; cached, since a new copy waits for the device."""
    mean, deviation = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return mean.to(device), (1.0 / deviation).to(device)
