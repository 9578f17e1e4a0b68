"""Label maps of large images from overlapping tiles, in memory that does not grow with the image.

Logits are blended at their native stride, with weights that taper to each tile's edge, so that no
tile ends visibly. The tiles of one row are blended in a band; what the next row does not reach is
interpolated straight to the original size, a few rows at a time, and let go.
"""

from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import torch

from lemore.evaluation.inference import Model, Size, slide_boxes

VALUES = 1 << 22  # floats of one class interpolated at a time: 16 MB
ALIGN = 32  # tiles begin and end at multiples of it, which every model's logits have cells for
Read = Callable[[int, int, int, int], torch.Tensor]  # top, left, height, width -> 1 3 h w


class Rows(NamedTuple):
    """Blended logits of some rows of cells, K n w."""

    first: int
    logits: torch.Tensor


@torch.inference_mode()
def tiled_label_map(
    model: Model,
    read: Read,
    size: Size,
    original_size: Size,
    *,
    tile: Size,
    overlap: Size,
    batch_size: int = 1,
) -> np.ndarray:
    """Train ids, uint8 (H, W) of `original_size`, of an image that the network sees at `size`.

    read: gives any part of the normalised image, also beyond its bottom and right (up to 31
    pixels). tile, overlap: (H, W), rounded up to multiples of 32; where a tile reaches beyond the
    image it is moved back, so the last ones overlap more. ValueError as `check_progress` says.
    """
    check_progress(tile, overlap)
    padded = (_aligned(size[0]), _aligned(size[1]))
    tile = (min(_aligned(tile[0]), padded[0]), min(_aligned(tile[1]), padded[1]))
    overlap = (_aligned(overlap[0]), _aligned(overlap[1]))
    boxes = slide_boxes(padded, tile, _stride(padded, tile, overlap))
    band = _Band(padded[1], tile, overlap)
    labels = np.empty(original_size, np.uint8)
    rows = _blended(model, read, boxes, padded, band, batch_size)
    for top, part in _label_rows(rows, padded, size, original_size):
        labels[top : top + len(part)] = part.cpu().numpy()
    return labels


def check_progress(tile: Size, overlap: Size) -> None:
    """ValueError if the tiles of a large image would stay where they are."""
    if any(_aligned(t) <= _aligned(o) for t, o in zip(tile, overlap, strict=True)):
        raise ValueError(
            f"tile: {tile[0]} x {tile[1]} with an overlap of {overlap[0]} x {overlap[1]} makes no "
            f"progress, as both count in steps of {ALIGN} pixels; take larger tiles or less overlap"
        )


def _stride(padded: Size, tile: Size, overlap: Size) -> Size:
    """From one tile to the next; along an axis that one tile covers it does not matter."""
    height, width = (t if t == p else t - o for p, t, o in zip(padded, tile, overlap, strict=True))
    assert min(height, width) >= ALIGN
    return height, width


def _aligned(length: int) -> int:
    return -(-length // ALIGN) * ALIGN


class _Band:
    """The weighted sum of the tiles that overlap in some rows, and of their weights.

    width: of the padded image; tile, overlap: (H, W). Logits arrive as K h w.
    """

    def __init__(self, width: int, tile: Size, overlap: Size):
        self.width, self.tile, self.overlap = width, tile, overlap
        self.total = self.weight = self.taper = torch.empty(0)
        self.stride = 0

    def add(self, left: int, logits: torch.Tensor) -> None:
        """Puts a tile in, whose left edge is at pixel `left`."""
        if not self.stride:
            self._allocate(logits)
        columns = slice(left // self.stride, left // self.stride + logits.shape[2])
        self.total[:, :, columns] += logits * self.taper
        self.weight[:, columns] += self.taper

    def take(self, pixels: int) -> torch.Tensor:
        """The blended first rows, K n W; the others move up."""
        count = pixels // self.stride
        done = self.total[:, :count] / self.weight[:count]
        self.total, self.weight = (_moved_up(values, count) for values in (self.total, self.weight))
        return done

    def _allocate(self, logits: torch.Tensor) -> None:
        classes, height, width = logits.shape
        self.stride = self.tile[0] // height
        assert (height, width) == (self.tile[0] // self.stride, self.tile[1] // self.stride)
        self.total = logits.new_zeros(classes, height, self.width // self.stride)
        self.weight = logits.new_zeros(height, self.width // self.stride)
        ramps = (
            _taper(cells, overlap / self.stride)
            for cells, overlap in zip((height, width), self.overlap, strict=True)
        )
        self.taper = torch.outer(*ramps).to(logits)


def _taper(cells: int, overlap: float) -> torch.Tensor:
    """Weights along a tile's side: sin^2 ramps over the overlap, two of which sum to 1."""
    centre = torch.arange(cells) + 0.5
    ramp = torch.minimum(centre, cells - centre) / max(overlap, 0.5)
    return torch.sin(ramp.clamp(max=1.0) * (torch.pi / 2)).square()


def _moved_up(values: torch.Tensor, rows: int) -> torch.Tensor:
    """... H W with the first `rows` dropped and as many of zeros at the end."""
    moved = torch.zeros_like(values)
    moved[..., : values.shape[-2] - rows, :] = values[..., rows:, :]
    return moved


def _blended(
    model: Model,
    read: Read,
    boxes: list[tuple[int, int, int, int]],
    padded: Size,
    band: _Band,
    batch_size: int,
) -> Iterator[Rows]:
    """Rows of cells from top to bottom, each once."""
    tops = sorted({top for top, *_ in boxes})
    ends = [*tops[1:], padded[0]]
    for (top, row), end in zip(groupby(boxes, key=lambda box: box[0]), ends, strict=True):
        for batch in _batches(list(row), batch_size):
            logits = model(torch.cat([read(*box) for box in batch])).float()  # B K h w
            for (_, left, _, _), values in zip(batch, logits, strict=True):
                band.add(left, values)
        yield Rows(top // band.stride, band.take(end - top))


def _batches(items: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _label_rows(
    rows: Iterator[Rows], padded: Size, size: Size, original_size: Size
) -> Iterator[tuple[int, torch.Tensor]]:
    """(first row, best class of some rows) at the original size, from top to bottom."""
    held, done = None, 0
    for new in rows:
        cells = new.logits if held is None else torch.cat([held[1], new.logits], dim=1)
        first = new.first if held is None else held[0]
        last = first + cells.shape[1] - 1
        stride = padded[1] // cells.shape[2]
        vertical = _positions(padded[0] // stride, stride, size[0], original_size[0])
        columns = _positions(cells.shape[2], stride, size[1], original_size[1])
        ready = int(np.searchsorted(vertical.high, last, side="right"))
        step = max(VALUES // original_size[1], 1)
        for top in range(done, ready, step):
            part = vertical.part(top, min(top + step, ready), first)
            yield top, _best(cells, part, columns)
        held, done = (last, cells[:, -1:]), ready


class Positions(NamedTuple):
    """Where pixels lie between cells: the cells before and after, and the share of the latter."""

    low: np.ndarray
    high: np.ndarray
    share: np.ndarray

    def part(self, start: int, stop: int, first: int) -> "Positions":
        """Pixels start..stop-1, cells counted from `first`."""
        low, high, share = (values[start:stop] for values in self)
        return Positions(low - first, high - first, share)


def _positions(cells: int, stride: int, size: int, original: int) -> Positions:
    """Of `original` pixels over `size` pixels of the network's input in cells of `stride`.

    Bilinear, align_corners False, as F.interpolate has it.
    """
    place = (np.arange(original) + 0.5) * (size / original) / stride - 0.5
    place = np.clip(place, 0, cells - 1)
    low = np.minimum(place.astype(np.int64), cells - 1)
    return Positions(low, np.minimum(low + 1, cells - 1), (place - low).astype(np.float32))


def _best(cells: torch.Tensor, rows: Positions, columns: Positions) -> torch.Tensor:
    """Best class uint8 R W of cells K n w; the first of equal ones."""
    size = (len(rows.low), len(columns.low))
    best = cells.new_full(size, -torch.inf)
    labels = torch.zeros(size, dtype=torch.uint8, device=cells.device)
    for train_id, values in enumerate(cells):
        values = _between(_between(values, rows, 0), columns, 1)
        labels.masked_fill_(values > best, train_id)
        torch.maximum(best, values, out=best)
    return labels


def _between(values: torch.Tensor, places: Positions, axis: int) -> torch.Tensor:
    low, high, share = (torch.from_numpy(part).to(values.device) for part in places)
    share = share[:, None] if axis == 0 else share
    return torch.lerp(values.index_select(axis, low), values.index_select(axis, high), share)
