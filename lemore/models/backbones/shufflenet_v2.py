"""ShuffleNetV2 at output stride 32.

"ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design" (ECCV 2018), by
torchvision, without the last 1x1 convolution.
"""

from typing import Literal

from torch import Tensor, nn
from torchvision.models import shufflenet_v2_x1_0, shufflenet_v2_x1_5

from lemore.models.layers import run_stages

# factor of the widths -> torchvision's builder, channels of the maps
WIDTHS = {
    "x1_0": (shufflenet_v2_x1_0, (24, 116, 232, 464)),
    "x1_5": (shufflenet_v2_x1_5, (24, 176, 352, 704)),
}


class ShuffleNetV2(nn.Module):
    """B 3 H W -> maps at 1/4, 1/8, 1/16, 1/32. Keeps torchvision's tensor names."""

    def __init__(self, width: Literal["x1_0", "x1_5"] = "x1_5") -> None:
        super().__init__()
        build_net, self.channels = WIDTHS[width]
        net = build_net()
        self.conv1, self.maxpool = net.conv1, net.maxpool
        self.stage2, self.stage3, self.stage4 = net.stage2, net.stage3, net.stage4

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x = self.maxpool(self.conv1(x))
        return (x, *run_stages((self.stage2, self.stage3, self.stage4), x))


build = ShuffleNetV2
