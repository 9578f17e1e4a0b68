"""EfficientNet-B0 at output stride 16.

"EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks" (ICML 2019), by
torchvision. The last 1x1 convolution (320 -> 1280) is left out.
"""

from torch import nn
from torchvision.models import efficientnet_b0

from lemore.models.sequential import SequentialEncoder, dilate


def build(drop_path: float) -> SequentialEncoder:
    """Maps at 1/4, 1/8, 1/16 and 1/16."""
    features = efficientnet_b0(stochastic_depth_prob=drop_path).features[:8]
    assert isinstance(features, nn.Sequential)
    dilate(features[6:], 2)
    return SequentialEncoder(features, {2: 24, 3: 40, 5: 112, 7: 320})
