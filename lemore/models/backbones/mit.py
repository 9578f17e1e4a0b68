"""MiT, the hierarchical transformer encoder of SegFormer.

Reproduces "SegFormer: Simple and Efficient Design for Semantic Segmentation with Transformers"
(NeurIPS 2021) as its published code computes it, with that code's two layer-norm epsilons: 1e-6
in blocks and at stage ends, 1e-5 after patch embedding and spatial reduction. Differs in nothing
known.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from lemore.config.size import Size
from lemore.models.layers import DropPath, get_size, initialize_weights, run_stages, spread_rates
from lemore.models.tokens import FeedForward, attend, flatten_map, initialize_linear, unflatten_map

HEADS = (1, 2, 5, 8)
REDUCTIONS = (8, 4, 2, 1)
EPS = 1e-6


class PatchEmbedding(nn.Module):
    """Overlapping strided convolution and layer norm; B C H W -> B N C' and the grid (h, w)."""

    def __init__(self, in_channels: int, channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.projection = nn.Conv2d(in_channels, channels, kernel, stride, kernel // 2)
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> tuple[Tensor, Size]:
        x = self.projection(x)
        size = get_size(x)
        return self.norm(flatten_map(x)), size


class ReducedAttention(nn.Module):
    """Attention whose keys and values come from a map reduced by `reduction`; B N C -> B N C."""

    def __init__(self, channels: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(channels, channels)
        self.key_value = nn.Linear(channels, 2 * channels)
        self.output = nn.Linear(channels, channels)
        self.reduce = nn.Conv2d(channels, channels, reduction, reduction) if reduction > 1 else None
        self.norm = nn.LayerNorm(channels) if reduction > 1 else None

    def forward(self, x: Tensor, size: Size) -> Tensor:
        source = x
        if self.reduce is not None and self.norm is not None:
            source = self.norm(flatten_map(self.reduce(unflatten_map(x, size))))
        return self.output(attend(self.query(x), self.key_value(source), self.heads))


class MiTBlock(nn.Module):
    """x + attention(norm(x)), then x + FFN(norm(x)); B N C."""

    def __init__(self, channels: int, heads: int, reduction: int, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=EPS)
        self.attention = ReducedAttention(channels, heads, reduction)
        self.norm2 = nn.LayerNorm(channels, eps=EPS)
        self.feed_forward = FeedForward(channels)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor, size: Size) -> Tensor:
        x = x + self.drop_path(self.attention(self.norm1(x), size))
        return x + self.drop_path(self.feed_forward(self.norm2(x), size))


class MiTStage(nn.Module):
    """Patch embedding, blocks, layer norm; B C H W -> B C' h w."""

    def __init__(self, embedding: PatchEmbedding, blocks: list[MiTBlock], channels: int) -> None:
        super().__init__()
        self.embedding = embedding
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(channels, eps=EPS)

    def forward(self, x: Tensor) -> Tensor:
        x, size = self.embedding(x)
        for block in self.blocks:
            x = block(x, size)
        return unflatten_map(self.norm(x), size)


class MiT(nn.Module):
    """B 3 H W -> maps at 1/4, 1/8, 1/16, 1/32, with `depths` blocks of `dims` channels."""

    def __init__(self, drop_path: float, dims: Sequence[int], depths: Sequence[int]) -> None:
        super().__init__()
        for key, value in (("dims", dims), ("depths", depths)):
            if len(value) != len(HEADS) or any(type(v) is not int or v < 1 for v in value):
                raise ValueError(f"backbone mit: {key} is {value!r}, expected four whole numbers")
        if any(dim % heads for dim, heads in zip(dims, HEADS, strict=True)):
            raise ValueError(f"backbone mit: dims {dims!r} must be multiples of the heads {HEADS}")
        self.channels = tuple(dims)
        rates = iter(spread_rates(drop_path, sum(depths)))
        self.stages = nn.ModuleList()
        for index, (dim, depth) in enumerate(zip(dims, depths, strict=True)):
            first = index == 0
            before, kernel, stride = (3, 7, 4) if first else (dims[index - 1], 3, 2)
            blocks = [
                MiTBlock(dim, HEADS[index], REDUCTIONS[index], next(rates)) for _ in range(depth)
            ]
            self.stages.append(MiTStage(PatchEmbedding(before, dim, kernel, stride), blocks, dim))
        self.apply(initialize_weights)
        self.apply(initialize_linear)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(run_stages(self.stages, x))


build = MiT
