"""The photometric distortion of `photometric` on a batch, on the training device.

The same draws and the same 8-bit arithmetic as OpenCV's, by tables of all 8-bit values. Its float32
steps round differently now and then, and the next conversion to HSV enlarges that: on noise 98.8 %
of the values are equal to the CPU's, the others differ by 1 to 5 of 255. So a recipe can choose
where the work is done, but this must not change within a training.
"""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from lemore.data.augment.photometric import HUE_RANGE

FIXED = 12  # bits behind the point in OpenCV's tables
LEVELS = 256


class Tables(NamedTuple):
    """level: 0..255 float. saturation: by value and spread. hue: by red - green or its like, from
    -255 on, and spread. share: 3 x hue, of saturation in red, green and blue."""

    level: Tensor
    saturation: Tensor
    hue: Tensor
    share: Tensor


def distort(images: Tensor, distortions: Tensor) -> Tensor:
    """images: uint8 B 3 H W (RGB), any device. distortions: float B 5, a `Distortion` each.

    All images take every step, and one that was not drawn for an image leaves it as it is: so the
    host never waits for a value of the device.
    """
    tables = _make_tables(images.device)
    columns = distortions.to(images.device, torch.float32, non_blocking=True)[..., None].unbind(1)
    brightness, contrast, first, saturation, hue = columns  # B 1 each
    kept = torch.ones_like(contrast)
    contrast = contrast.nan_to_num(1.0)
    before = _cut(tables.level + brightness.nan_to_num(0.0))
    before = _cut(before * contrast.where(first > 0, kept)).int()
    scaled = _cut(tables.level * saturation.nan_to_num(1.0)) * (1 / 255)
    shifted = torch.remainder(tables.level + hue.nan_to_num(0.0), HUE_RANGE).int()
    after = _cut(tables.level * contrast.where(first == 0, kept)).to(torch.uint8)

    image = torch.arange(len(images), device=images.device)[:, None, None]  # B 1 1
    colours = before[image[..., None], images.int()]
    h, s, v = _convert_to_hsv(colours, tables)
    changed = _convert_to_rgb(h, scaled[image, s], v, tables)
    colours = changed.where(~saturation.isnan()[..., None, None], colours)
    h, s, v = _convert_to_hsv(colours, tables)
    changed = _convert_to_rgb(shifted[image, h], s * (1 / 255), v, tables)
    colours = changed.where(~hue.isnan()[..., None, None], colours)
    return after[image[..., None], colours]


def _cut(values: Tensor) -> Tensor:
    """Limits to 0..255 and cuts to whole numbers."""
    return values.clamp(0, 255).trunc()


def _convert_to_hsv(colours: Tensor, tables: Tables) -> tuple[Tensor, Tensor, Tensor]:
    """OpenCV's 8-bit RGB2HSV: hue 0..179, saturation and value 0..255; each B H W int32."""
    red, green, blue = colours.unbind(1)
    value = colours.amax(1)
    spread = value - colours.amin(1)
    difference = torch.where(
        value == red,
        green - blue,
        torch.where(value == green, blue - red + 2 * spread, red - green + 4 * spread),
    )
    return tables.hue[difference + 255, spread], tables.saturation[value, spread], value


def _convert_to_rgb(hue: Tensor, saturation: Tensor, value: Tensor, tables: Tables) -> Tensor:
    """OpenCV's 8-bit HSV2RGB: computed in float32 and cut, not rounded; int32 B 3 H W.

    saturation: of 1.
    """
    share = tables.share[:, hue].transpose(0, 1)  # B 3 H W
    parts = (1 - share * saturation[:, None]).mul_((value * (1 / 255))[:, None])
    return parts.mul_(255).int()


@lru_cache
@torch.inference_mode(False)
def _make_tables(device: torch.device) -> Tables:
    """Made once, since every copy to a device waits for it."""
    level = torch.arange(LEVELS, dtype=torch.float64)
    of_value, of_spread = (
        (numerator / level.clamp(min=1)).round() * (level > 0)
        for numerator in (255 << FIXED, (HUE_RANGE << FIXED) / 6)
    )
    saturation = _round_fixed(level * of_value[:, None])  # value x spread
    difference = torch.arange(-255, 255 * 5 + 1, dtype=torch.float64)
    hue = _round_fixed(difference[:, None] * of_spread)
    hue += HUE_RANGE * (hue < 0)
    made = Tables(level.float(), saturation, hue, _make_shares())
    return Tables(*(table.to(device) for table in made))


def _round_fixed(values: Tensor) -> Tensor:
    return (values.int() + (1 << (FIXED - 1))) >> FIXED


def _make_shares() -> Tensor:
    """3 x hue, float32: each is 0 where a colour has the value itself and 1 where it has the least,
    and rises or falls between, in the sixths of the circle."""
    sixth = torch.arange(LEVELS).float() * (6.0 / HUE_RANGE)
    sector = sixth.floor()
    part = sixth - sector
    place = (sector + torch.tensor([5.0, 3.0, 1.0])[:, None]) % 6
    return torch.minimum(place + part, 3 - place + (1 - part)).clamp(0, 1)
