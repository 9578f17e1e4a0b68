"""LeMoRe's encoder: stem, four stages that end in a C-Encoder, and (N-Attn + FFN) x 4 on tokens.

Reproduces "LeMoRe: Learn More Details for Lightweight Semantic Segmentation" (ICIP 2025): the
figure of the architecture, the supplement and every published parameter count. The paper draws no
inverted residuals and no shortcut around the C-Encoder; the counts require the former, training
needs the latter. Nested attention is drawn as a sum of nine products Q_i K_j; with one softmax that
equals ordinary attention on summed projections, which is how it is computed here.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from lemore.config.size import Size
from lemore.models.axis_mixing import AxisMixing
from lemore.models.layers import (
    AttentionBlock,
    ConvNorm,
    InvertedResidual,
    halve,
    initialize_weights,
    pool_to_tokens,
    run_stages,
    spread_rates,
)

Views = Literal["t", "tf", "tfl"]
Softmax = Literal["sum", "mean_of_nine"]

STEM = 16
# Per stage: width, then (expansion, number) of inverted residuals, all 5x5, the first of stride 2.
STAGES = (
    (16, ((4, 1), (3, 2))),
    (32, ((3, 4),)),
    (64, ((3, 2),)),
    (96, ((6, 2),)),
)
BLOCKS = 4
HEADS = 4
KEY_WIDTH, VALUE_WIDTH = 32, 64  # over all heads
BRANCHES = 3  # Q_1..3, K_1..3, V_1..3


class ChannelAttention(nn.Module):
    """x scaled per channel by sigmoid(W2 relu(W1 mean(x))), hidden width 2C; B C H W."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.expand = nn.Linear(channels, 2 * channels)
        self.reduce = nn.Linear(2 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.reduce(torch.relu(self.expand(x.mean((2, 3)))))
        return x * torch.sigmoid(gate)[:, :, None, None]


class CEncoder(nn.Module):
    """Sum of three views, separable 3x3 plain and dilated, channel attention, shortcut; B C H W.

    Each view contracts one axis with a learned matrix: transverse the channels, frontal the width,
    lateral the height.
    """

    def __init__(self, channels: int, size: Size, views: Views, channel_attention: bool) -> None:
        super().__init__()
        self.transverse = nn.Conv2d(channels, channels, 1, bias=False)
        self.frontal = AxisMixing(size[1], "width") if "f" in views else None
        self.lateral = AxisMixing(size[0], "height") if "l" in views else None
        self.bn = nn.BatchNorm2d(channels)
        self.activation = nn.ReLU(inplace=True)
        self.depthwise = nn.Sequential(
            ConvNorm(channels, channels, (3, 1), groups=channels),
            ConvNorm(channels, channels, (1, 3), groups=channels, activation=nn.ReLU),
            ConvNorm(channels, channels, (3, 1), dilation=2, groups=channels),
            ConvNorm(channels, channels, (1, 3), dilation=2, groups=channels, activation=nn.ReLU),
        )
        self.attention = ChannelAttention(channels) if channel_attention else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        views = self.transverse(x)
        if self.frontal is not None:
            views = views + self.frontal(x)
        if self.lateral is not None:
            views = views + self.lateral(x)
        return x + self.attention(self.depthwise(self.activation(self.bn(views))))


class NestedAttention(nn.Module):
    """Three queries, keys and values per head; B C h w -> B C h w.

    softmax "sum": one softmax of the nine summed products, scaled by 1 / (3 sqrt(d)).
    softmax "mean_of_nine": the mean of nine softmaxes, each scaled by 1 / sqrt(d).
    The nine projections are one convolution: branch by branch [Q_i, K_i, V_i].
    """

    def __init__(self, channels: int, softmax: Softmax) -> None:
        super().__init__()
        self.softmax = softmax
        self.projections = ConvNorm(channels, BRANCHES * (2 * KEY_WIDTH + VALUE_WIDTH))
        self.folded: nn.Conv2d | None = None
        self.activation = nn.ReLU6(inplace=True)
        self.output = ConvNorm(VALUE_WIDTH, channels)

    def reset_parameters(self) -> None:
        """Initialises each projection by its own fan-out; the residual branch starts at zero."""
        weight = self.projections.conv.weight
        for part in weight.split([KEY_WIDTH, KEY_WIDTH, VALUE_WIDTH] * BRANCHES):
            nn.init.normal_(part, 0.0, math.sqrt(2.0 / part.shape[0]))
        nn.init.zeros_(self.output.bn.weight)

    def forward(self, x: Tensor) -> Tensor:
        b, _, h, w = x.shape
        if self.folded is not None:
            projected = self.folded(x).flatten(2)[:, None]  # B 1 (2 dk + dv) N
        else:
            projected = self.projections(x).unflatten(1, (BRANCHES, -1)).flatten(3)  # B 3 ... N
        attend = attend_by_mean_of_nine if self.softmax == "mean_of_nine" else attend_by_sum
        mixed = attend(projected).reshape(b, VALUE_WIDTH, h, w)
        return self.output(self.activation(mixed))

    def fold_projections(self) -> None:
        """Sums the three projections, batch norm included, into one convolution (for inference).

        Does so only with the summed softmax: nine softmaxes need nine products.
        """
        if self.softmax != "sum" or self.folded is not None:
            return
        parts = (part.unflatten(0, (BRANCHES, -1)) for part in self.projections.fold_norm())
        weight, bias = (part.sum(0) for part in parts)
        folded = nn.Conv2d(weight.shape[1], weight.shape[0], 1)
        self.folded = folded.to(self.projections.conv.weight)
        self.folded.load_state_dict({"weight": weight, "bias": bias})
        del self.projections


def attend_by_sum(projected: Tensor) -> Tensor:
    """sum_ij q_i^T k_j = (sum_i q_i)^T (sum_j k_j); B 3 (2 dk + dv) N -> B heads dv/heads N."""
    q, k, v = _split_heads(projected.sum(1))
    scale = 1.0 / (BRANCHES * math.sqrt(KEY_WIDTH // HEADS))
    attention = torch.softmax((q * scale).transpose(-2, -1) @ k, dim=-1)  # B heads N N
    return v @ attention.transpose(-2, -1)


def attend_by_mean_of_nine(projected: Tensor) -> Tensor:
    """mean_ij softmax(q_i^T k_j / sqrt(d)); B 3 (2 dk + dv) N -> B heads dv/heads N."""
    q, k, v = _split_heads(projected)  # B 3 heads d N
    scale = 1.0 / math.sqrt(KEY_WIDTH // HEADS)
    products = (q * scale).transpose(-2, -1)[:, :, None] @ k[:, None]  # B 3 3 heads N N
    attention = torch.softmax(products, dim=-1).mean((1, 2))
    return v.sum(1) @ attention.transpose(-2, -1)


def _split_heads(projected: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """... (2 dk + dv) N -> q, k: ... heads dk/heads N and v: ... heads dv/heads N."""
    q, k, v = projected.split([KEY_WIDTH, KEY_WIDTH, VALUE_WIDTH], dim=-2)
    return q.unflatten(-2, (HEADS, -1)), k.unflatten(-2, (HEADS, -1)), v.unflatten(-2, (HEADS, -1))


class LeMoRe(nn.Module):
    """B 3 H W -> maps at 1/4, 1/8, 1/16, 1/32 (16, 32, 64, 96) and tokens at 1/64 (208).

    input_size: (H, W) of the training images. The switches are Table 2's.
    """

    def __init__(
        self,
        input_size: Size,
        drop_path: float,
        views: Views,
        channel_attention: bool,
        nested_attention: bool,
        softmax: Softmax = "sum",
    ) -> None:
        super().__init__()
        widths = [width for width, _ in STAGES]
        self.channels = (*widths, sum(widths))
        self.stem = nn.Sequential(
            ConvNorm(3, STEM, 3, stride=2, activation=nn.ReLU),
            InvertedResidual(STEM, STEM, kernel=3, expansion=1, stride=1),
        )
        self.stages = nn.ModuleList()
        before = STEM
        for index, (width, residuals) in enumerate(STAGES):
            layers: list[nn.Module] = []
            for expansion in (e for e, number in residuals for _ in range(number)):
                stride = 1 if layers else 2
                layers.append(InvertedResidual(before, width, 5, expansion, stride))
                before = width
            layers.append(CEncoder(width, halve(input_size, index + 2), views, channel_attention))
            self.stages.append(nn.Sequential(*layers))
        tokens = self.channels[-1]
        self.blocks = nn.Sequential(
            *(
                AttentionBlock(
                    NestedAttention(tokens, softmax) if nested_attention else None, tokens, 2, rate
                )
                for rate in spread_rates(drop_path, BLOCKS)
            )
        )
        self.apply(initialize_weights)
        for module in self.modules():
            if isinstance(module, NestedAttention):
                module.reset_parameters()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        features = run_stages(self.stages, self.stem(x))
        tokens = self.blocks(pool_to_tokens(features))  # B 208 H/64 W/64
        return (*features, tokens)


build = LeMoRe
