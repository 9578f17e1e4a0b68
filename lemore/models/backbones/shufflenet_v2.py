"""ShuffleNetV2 1.5x at output stride 32.

"ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design" (ECCV 2018), by
torchvision, without the last 1x1 convolution.
"""

from torch import Tensor, nn
from torchvision.models import shufflenet_v2_x1_5

from lemore.models.layers import run_stages


class ShuffleNetV2(nn.Module):
    """B 3 H W -> maps at 1/4, 1/8, 1/16, 1/32. Keeps torchvision's tensor names."""

    channels = (24, 176, 352, 704)

    def __init__(self) -> None:
        super().__init__()
        net = shufflenet_v2_x1_5()
        self.conv1, self.maxpool = net.conv1, net.maxpool
        self.stage2, self.stage3, self.stage4 = net.stage2, net.stage3, net.stage4

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x = self.maxpool(self.conv1(x))
        return (x, *run_stages((self.stage2, self.stage3, self.stage4), x))


build = ShuffleNetV2
