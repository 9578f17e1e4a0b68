"""MobileNetV2, dilated to output stride 8 or 16.

"MobileNetV2: Inverted Residuals and Linear Bottlenecks" (CVPR 2018), by torchvision. The last 1x1
convolution (320 -> 1280), which only a classifier uses, is left out. `reduced` halves the widths of
the last stages, as row 4 of Table 7 in "Searching for MobileNetV3" (ICCV 2019) does. At output
stride 8 only the first block of a stage is dilated, as in mmsegmentation, which trains it so.
"""

from typing import Literal

from torch import nn
from torchvision.models import mobilenet_v2

from lemore.models.sequential import SequentialEncoder, dilate

# expansion, channels, blocks, stride
FIRST_STAGES = [[1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 3, 2], [6, 64, 4, 2], [6, 96, 3, 1]]
LAST_STAGES = [[6, 160, 3, 2], [6, 320, 1, 1]]
REDUCED_STAGES = [[6, 80, 3, 2], [6, 160, 1, 1]]


def build(output_stride: Literal[8, 16], reduced: bool) -> SequentialEncoder:
    """Maps at 1/4, 1/8 and twice at 1/output_stride."""
    stages = FIRST_STAGES + (REDUCED_STAGES if reduced else LAST_STAGES)
    features = mobilenet_v2(inverted_residual_setting=stages).features[:18]
    assert isinstance(features, nn.Sequential)
    if output_stride == 8:
        dilate((features[7], features[11]), 2)
        dilate((features[14], features[17]), 4)
    else:
        dilate(features[14:], 2)
    return SequentialEncoder(features, {3: 24, 6: 32, 13: 96, 17: stages[-1][1]})
