"""The photometric distortion of `photometric` on a batch, on the training device.

The same draws and the same 8-bit arithmetic as OpenCV's, in torch. Its float32 steps round
differently now and then, and the next conversion to HSV enlarges that: on noise 98.8 % of the
values are equal to the CPU's, the others differ by 1 to 5 of 255. So a recipe can choose where
the work is done, but this must not change within a training.
"""

from functools import lru_cache

import torch
from torch import Tensor

from lemore.data.augment.photometric import HUE_RANGE

FIXED = 12  # bits behind the point in OpenCV's tables


def distort(images: Tensor, distortions: Tensor) -> Tensor:
    """images: uint8 B 3 H W (RGB), any device. distortions: float B 5, a `Distortion` each."""
    return torch.stack(
        [_distort_one(image, row) for image, row in zip(images, distortions.tolist(), strict=True)]
    )


def _distort_one(image: Tensor, row: list[float]) -> Tensor:
    brightness, contrast, contrast_first, saturation, hue = row
    if brightness == brightness:  # not NaN: the step was drawn
        image = _scale(image, 1.0, brightness)
    if contrast == contrast and contrast_first:
        image = _scale(image, contrast, 0.0)
    if saturation == saturation:
        h, s, v = _convert_to_hsv(image)
        image = _convert_to_rgb(h, _scale(s, saturation, 0.0), v)
    if hue == hue:
        h, s, v = _convert_to_hsv(image)
        image = _convert_to_rgb(torch.remainder(h.int() + int(hue), HUE_RANGE), s, v)
    if contrast == contrast and not contrast_first:
        image = _scale(image, contrast, 0.0)
    return image


def _scale(values: Tensor, factor: float, offset: float) -> Tensor:
    """clip(v * factor + offset, 0, 255), cut to uint8."""
    return values.float().mul_(factor).add_(offset).clamp_(0, 255).to(torch.uint8)


def _convert_to_hsv(image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """OpenCV's 8-bit RGB2HSV: hue 0..179, saturation and value 0..255; each H W uint8."""
    red, green, blue = image.int()
    value = torch.maximum(torch.maximum(red, green), blue)
    spread = value - torch.minimum(torch.minimum(red, green), blue)
    saturation = _round_fixed(spread * _make_table(255 << FIXED, image.device)[value])
    hue = torch.where(
        value == red,
        green - blue,
        torch.where(value == green, blue - red + 2 * spread, red - green + 4 * spread),
    )
    hue = _round_fixed(hue * _make_table((HUE_RANGE << FIXED) / 6, image.device)[spread])
    hue = hue + HUE_RANGE * (hue < 0)
    return hue.to(torch.uint8), saturation.to(torch.uint8), value.to(torch.uint8)


def _make_table(numerator: float, device: torch.device) -> Tensor:
    """round(numerator / i) for i in 0..255, 0 for 0; int32."""
    divisors = torch.arange(256, dtype=torch.float64, device=device)
    table = (numerator / divisors.clamp(min=1)).round().int()
    table[0] = 0
    return table


def _round_fixed(values: Tensor) -> Tensor:
    return (values + (1 << (FIXED - 1))) >> FIXED


def _convert_to_rgb(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """OpenCV's 8-bit HSV2RGB: computed in float32 and cut, not rounded; uint8 3 H W."""
    sixth = hue.float() * (6.0 / HUE_RANGE)
    sector = sixth.floor()
    part = sixth - sector
    s, v = saturation.float() * (1 / 255), value.float() * (1 / 255)
    low, falling, rising = v * (1 - s), v * (1 - s * part), v * (1 - s * (1 - part))
    tabled = torch.stack([v, low, falling, rising])
    order = _order(hue.device)[sector.long() % 6]  # H W 3
    return tabled.gather(0, order.permute(2, 0, 1)).mul_(255).to(torch.uint8)


# Which of (value, low, falling, rising) red, green and blue are in each sixth of the circle.
ORDER = ((0, 3, 1), (2, 0, 1), (1, 0, 3), (1, 2, 0), (3, 1, 0), (0, 1, 2))


@lru_cache
@torch.inference_mode(False)
def _order(device: torch.device) -> Tensor:
    """Cached, since every new copy waits for the device."""
    return torch.tensor(ORDER, device=device)
