"""MobileNetV3-Large at output stride 32, for detection.

"Searching for MobileNetV3" (ICCV 2019), by torchvision, without the last 1x1 convolution.
BatchNorm's averages follow with momentum 0.1, as in `mobilenet_v3`.
"""

from functools import partial

from torch import nn
from torchvision.models import mobilenet_v3_large

from lemore.models.sequential import SequentialEncoder

TAPS = {6: 40, 12: 112, 15: 160}  # after these layers: their channels


def build() -> SequentialEncoder:
    """Maps at 1/8, 1/16 and 1/32."""
    norm = partial(nn.BatchNorm2d, eps=0.001, momentum=0.1)
    return SequentialEncoder(mobilenet_v3_large(norm_layer=norm).features[:-1], TAPS)
