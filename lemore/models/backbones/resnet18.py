"""ResNet-18 with a deep stem, at output stride 16.

"Deep Residual Learning for Image Recognition" (CVPR 2016), by torchvision; the 7x7 stem is replaced
by three 3x3 convolutions ("Bag of Tricks", CVPR 2019, ResNet-C), which the published counts need.
"""

from torch import Tensor, nn
from torchvision.models import resnet18

from lemore.models.layers import ConvNorm, run_stages
from lemore.models.sequential import dilate

STEM = 32


class ResNet18(nn.Module):
    """B 3 H W -> maps at 1/4, 1/8, 1/16, 1/16. The layers keep torchvision's tensor names."""

    channels = (64, 128, 256, 512)

    def __init__(self) -> None:
        super().__init__()
        net = resnet18()
        self.stem = nn.Sequential(
            ConvNorm(3, STEM, 3, stride=2, activation=nn.ReLU),
            ConvNorm(STEM, STEM, 3, activation=nn.ReLU),
            ConvNorm(STEM, 64, 3, activation=nn.ReLU),
        )
        self.maxpool = net.maxpool
        self.layer1, self.layer2 = net.layer1, net.layer2
        self.layer3, self.layer4 = net.layer3, net.layer4
        dilate([self.layer4], 2)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        layers = (self.layer1, self.layer2, self.layer3, self.layer4)
        return tuple(run_stages(layers, self.maxpool(self.stem(x))))


build = ResNet18
