"""MobileNetV3 at output stride 16.

"Searching for MobileNetV3" (ICCV 2019), by torchvision, whose segmentation models dilate the last
three blocks. `reduced` halves the widths of the last stage, as section 6.4 of the paper does.
BatchNorm's averages follow with momentum 0.1, as mmsegmentation trains this network: torchvision's
0.01 leaves them far behind the weights for some hundred iterations.
"""

from functools import partial
from typing import Literal

from torch import nn
from torchvision.models.mobilenetv3 import MobileNetV3, _mobilenet_v3_conf

from lemore.models.sequential import SequentialEncoder

# after these layers: 1/8 and 1/16 fine features, and the last layer
TAPS = {"large": {6: 40, 12: 112}, "small": {3: 24, 8: 48}}


def build(variant: Literal["large", "small"], reduced: bool) -> SequentialEncoder:
    """Maps at 1/8, 1/16 and 1/16."""
    blocks, last = _mobilenet_v3_conf(f"mobilenet_v3_{variant}", dilated=True, reduced_tail=reduced)
    norm = partial(nn.BatchNorm2d, eps=0.001, momentum=0.1)
    features = MobileNetV3(blocks, last, norm_layer=norm).features
    width = 6 * blocks[-1].out_channels
    return SequentialEncoder(features, TAPS[variant] | {len(features) - 1: width})
