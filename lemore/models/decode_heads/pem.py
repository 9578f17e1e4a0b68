"""PEM: prototype-based efficient mask prediction.

Reproduces "PEM: Prototype-based Efficient MaskFormer for Image Segmentation" (CVPR 2024) as its
published code computes it, oddities included: the modulation's sigmoid is applied twice, and the
product of token and query is normalised over the queries. Differs in two points: maps of odd
size are cropped where the original pads the image to a multiple of 32; and class scores are
made at 1/4 and resized, where the original resizes the masks first.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import DeformConv2d

from lemore.models.layers import ConvNorm, get_size
from lemore.models.set_prediction import Masks, compute_set_loss

PYRAMID, WIDTH, HIDDEN, QUERIES, HEADS, LAYERS = 128, 256, 2048, 100, 8, 6


class Modulation(nn.Module):
    """x + x * gate of its mean (context-based self-modulation); B C h w."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce = ConvNorm(channels, channels // 2, activation=nn.ReLU)
        self.expand = nn.Conv2d(channels // 2, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.expand(self.reduce(x.mean((2, 3), keepdim=True)))
        return x + x * torch.sigmoid(torch.sigmoid(gate))


class FullPrecisionDeform(DeformConv2d):
    """DeformConv2d that computes in its weights' type, also where autocast is on: torchvision's
    has no half precision on a CPU."""

    def forward(self, input: Tensor, offset: Tensor, mask: Tensor | None = None) -> Tensor:
        assert mask is not None
        x, offset, mask = (part.to(self.weight.dtype) for part in (input, offset, mask))
        return super().forward(x, offset, mask)


class DeformUpsample(nn.Module):
    """Modulated deformable 3x3, and twice its size by a transposed convolution; B C h w."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.offsets = nn.Conv2d(channels, 27, 3, padding=1)
        self.deform = FullPrecisionDeform(channels, channels, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(channels)
        self.upsample = nn.ConvTranspose2d(channels, channels, 4, 2, padding=1, bias=False)
        self.bn_up = nn.BatchNorm2d(channels)
        nn.init.kaiming_normal_(self.deform.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.offsets.weight)
        with torch.no_grad():
            assert self.offsets.bias is not None
            self.offsets.bias.zero_()
            line = torch.tensor([0.25, 0.75, 0.75, 0.25])
            self.upsample.weight[:, 0] = line[:, None] * line  # bilinear upsampling by two

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        offsets, mask = self.offsets(x).split([18, 9], dim=1)
        x = F.relu(self.bn(self.deform(x, offsets, torch.sigmoid(mask))))
        return x, F.relu(self.bn_up(self.upsample(x)))


class PixelDecoder(nn.Module):
    """Maps at 1/4..1/32 -> mask features at 1/4 (B 256 h w) and maps at 1/32, 1/16, 1/8."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.projections = nn.ModuleList(
            ConvNorm(c, PYRAMID, activation=nn.ReLU) for c in channels[::-1]
        )
        self.context = ConvNorm(channels[-1], PYRAMID, activation=nn.ReLU)
        self.modulations = nn.ModuleList(Modulation(PYRAMID) for _ in channels)
        self.upsamples = nn.ModuleList(DeformUpsample(PYRAMID) for _ in channels[1:])
        self.output = ConvNorm(PYRAMID, WIDTH, activation=nn.ReLU)

    def forward(self, features: tuple[Tensor, ...]) -> tuple[Tensor, list[Tensor]]:
        upsampled = self.context(features[-1].mean((2, 3), keepdim=True))
        levels = []
        coarse_to_fine = zip(self.projections, self.modulations, features[::-1], strict=True)
        for index, (project, modulate, feature) in enumerate(coarse_to_fine):
            height, width = feature.shape[-2], feature.shape[-1]
            x = modulate(project(feature)) + upsampled[..., :height, :width]
            if index == len(self.upsamples):
                return self.output(x), levels
            x, upsampled = self.upsamples[index](x)
            levels.append(x)
        raise AssertionError("unreachable")


class PrototypeAttention(nn.Module):
    """Per head, each query reads the one token most like it; queries B Q C, tokens B C h w."""

    def __init__(self) -> None:
        super().__init__()
        self.bn_tokens = nn.BatchNorm2d(WIDTH)
        self.local = nn.Conv2d(WIDTH, WIDTH, 3, padding=1, groups=WIDTH)
        self.token = nn.Linear(WIDTH, WIDTH)
        self.norm = nn.LayerNorm(WIDTH)
        self.query = nn.Linear(WIDTH, WIDTH)
        self.mix = nn.Linear(WIDTH, WIDTH)
        self.output = nn.Linear(WIDTH, WIDTH)
        self.alpha = nn.Parameter(torch.ones(1, 1, WIDTH))

    def forward(self, queries: Tensor, position: Tensor, image: Tensor, masks: Tensor) -> Tensor:
        """masks: B Q h w logits; a query sees only tokens where its mask is not negative."""
        tokens = self.token(self.local(self.bn_tokens(image)).flatten(2).transpose(1, 2))
        tokens = F.normalize(tokens, dim=-1)  # B N C
        q = F.normalize(self.query(self.norm(queries + position)), dim=-1)  # B Q C
        chosen = _choose_tokens(tokens, q, masks.detach().flatten(2) < 0)
        mixed = F.normalize(self.mix(chosen * q), dim=1) * self.alpha + chosen
        return queries + self.output(mixed)


def _choose_tokens(tokens: Tensor, queries: Tensor, hidden: Tensor) -> Tensor:
    """Chooses per head the token with the largest product with each query; B N C, B Q C -> B Q C.

    hidden: B Q N, True for tokens a query may not choose; ignored where it hides all tokens from
    all queries of an image. If they are hidden from one query only, it gets the first token.
    """
    heads = tokens.unflatten(-1, (HEADS, -1)).transpose(1, 2)  # B heads N d
    q = queries.unflatten(-1, (HEADS, -1)).transpose(1, 2)  # B heads Q d
    similarity = q @ heads.transpose(-2, -1)  # B heads Q N
    hidden = hidden & ~hidden.all(-1).all(-1)[:, None, None]
    index = similarity.masked_fill(hidden[:, None], -torch.inf).argmax(-1)  # B heads Q
    chosen = heads.gather(2, index[..., None].expand(-1, -1, -1, heads.shape[-1]))
    return chosen.transpose(1, 2).flatten(2)


class PEMLayer(nn.Module):
    """Prototype cross-attention, self-attention, feed-forward, each with a residual."""

    def __init__(self) -> None:
        super().__init__()
        self.cross = PrototypeAttention()
        self.norm1 = nn.LayerNorm(WIDTH)
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.norm2 = nn.LayerNorm(WIDTH)
        self.expand = nn.Linear(WIDTH, HIDDEN)
        self.reduce = nn.Linear(HIDDEN, WIDTH)

    def forward(self, x: Tensor, position: Tensor, image: Tensor, masks: Tensor) -> Tensor:
        x = self.cross(x, position, image, masks)
        normed = self.norm1(x)
        keys = normed + position
        x = x + self.attention(keys, keys, normed, need_weights=False)[0]
        return x + self.reduce(F.relu(self.expand(self.norm2(x))))


class PEMHead(nn.Module):
    """Maps at 1/4..1/32 -> class scores B K H/4 W/4, not negative: sums of mask probabilities."""

    def __init__(self, channels: tuple[int, ...], num_classes: int) -> None:
        super().__init__()
        self.pixel_decoder = PixelDecoder(channels)
        self.inputs = nn.ModuleList(nn.Conv2d(PYRAMID, WIDTH, 1) for _ in channels[1:])
        self.level_embedding = nn.Embedding(len(self.inputs), WIDTH)
        self.query_features = nn.Embedding(QUERIES, WIDTH)
        self.query_positions = nn.Embedding(QUERIES, WIDTH)
        self.layers = nn.ModuleList(PEMLayer() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(WIDTH)
        self.classifier = nn.Linear(WIDTH, num_classes + 1)
        self.mask_mlp = nn.Sequential(
            nn.Linear(WIDTH, WIDTH),
            nn.ReLU(),
            nn.Linear(WIDTH, WIDTH),
            nn.ReLU(),
            nn.Linear(WIDTH, WIDTH),
        )
        for name, parameter in self.layers.named_parameters():
            if parameter.dim() == 2 and "cross" not in name:
                nn.init.xavier_uniform_(parameter)

    def forward(self, features: tuple[Tensor, ...]) -> Tensor:
        last = self.training_outputs(features)[-1]
        classes = torch.softmax(last.classes, dim=-1)[..., :-1]
        return torch.einsum("bqk,bqhw->bkhw", classes, torch.sigmoid(last.masks))

    def training_outputs(self, features: tuple[Tensor, ...]) -> list[Masks]:
        """Predictions before the first and after every layer."""
        mask_features, levels = self.pixel_decoder(features)
        images = [
            project(x) + embedding[:, None, None] + _encode_positions(x)
            for project, x, embedding in zip(
                self.inputs, levels, self.level_embedding.weight, strict=True
            )
        ]
        batch = len(mask_features)
        x = self.query_features.weight.expand(batch, -1, -1)
        position = self.query_positions.weight.expand(batch, -1, -1)
        outputs = [self._classify(x, mask_features)]
        for index, layer in enumerate(self.layers):
            image = images[index % len(images)]
            size = get_size(image)
            masks = F.interpolate(outputs[-1].masks, size, mode="bilinear", align_corners=False)
            x = layer(x, position, image, masks)
            outputs.append(self._classify(x, mask_features))
        return outputs

    def _classify(self, x: Tensor, mask_features: Tensor) -> Masks:
        x = self.norm(x)
        masks = torch.einsum("bqc,bchw->bqhw", self.mask_mlp(x), mask_features)
        return Masks(self.classifier(x), masks)

    def loss(self, outputs: list[Masks], label: Tensor) -> Tensor:
        """Set-prediction loss of every layer's prediction; label B H W, 255 ignored."""
        return compute_set_loss(outputs, label)


def _encode_positions(x: Tensor) -> Tensor:
    """1 WIDTH h w: sines and cosines of row, then of column, both scaled to (0, 2 pi]."""
    height, width = x.shape[-2], x.shape[-1]
    half = WIDTH // 2
    steps = torch.arange(half, device=x.device, dtype=torch.float32)
    frequency = 10000 ** (-2 * (steps // 2) / half)
    rows = _make_waves(height, frequency)[:, None].expand(-1, width, -1)
    columns = _make_waves(width, frequency)[None].expand(height, -1, -1)
    return torch.cat([rows, columns], dim=-1).permute(2, 0, 1)[None].to(x.dtype)


def _make_waves(length: int, frequency: Tensor) -> Tensor:
    """length half: alternating sine and cosine."""
    place = torch.arange(1, length + 1, device=frequency.device, dtype=torch.float32)
    angle = (place / (length + 1e-6) * 2 * math.pi)[:, None] * frequency
    return torch.stack([angle[:, 0::2].sin(), angle[:, 1::2].cos()], dim=-1).flatten(1)


build = PEMHead
