"""Label maps of large images from overlapping tiles, in memory that does not grow with the image.

Logits are blended at their native stride, with weights that taper to each tile's edge, so that no
edge is visible. The tiles of one row are blended in a band; the rows that the next tiles do not
reach are interpolated straight to the original size, a few at a time, and dropped.
"""

from collections.abc import Callable, Iterator
from itertools import groupby
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lemore.config.size import Size
from lemore.evaluation.inference import Box, Model, slide_boxes
from lemore.evaluation.upsample import BestClass

VALUES = 1 << 22  # floats of one class interpolated at a time: 16 MB
ALIGN = 32  # tiles begin and end at its multiples, as the logits' cells of every model do
Read = Callable[[int, int, int, int], Tensor]  # top, left, height, width -> 1 3 h w


class Rows(NamedTuple):
    """Blended logits of some rows of cells, K n w."""

    first: int
    logits: Tensor


@torch.inference_mode()
def label_tiles(
    model: Model,
    read: Read,
    size: Size,
    original_size: Size,
    *,
    tile: Size,
    overlap: Size,
    batch_size: int = 1,
) -> np.ndarray:
    """Predicts uint8 train ids of `original_size` (H, W); the network sees the image at `size`.

    read: returns a part of the normalised image, also up to 31 pixels beyond its bottom and right.
    tile, overlap: (H, W), rounded up to multiples of 32; a tile that reaches beyond the image is
    moved back, so the last ones overlap more. ValueError as `check_progress` says.
    """
    check_progress(tile, overlap)
    padded = _align(size)
    tile = (min(_align(tile)[0], padded[0]), min(_align(tile)[1], padded[1]))
    overlap = _align(overlap)
    # Along an axis that one tile covers the stride does not matter.
    sides = zip(padded, tile, overlap, strict=True)
    height, width = (t if t == whole else t - o for whole, t, o in sides)
    boxes = slide_boxes(padded, tile, (height, width))
    band = _Band(padded[1], tile, overlap)
    labels = np.empty(original_size, np.uint8)
    rows = _blend_tiles(model, read, boxes, padded[0], band, batch_size)
    for top, part in _label_rows(rows, padded, size, original_size):
        labels[top : top + len(part)] = part.cpu().numpy()
    return labels


def check_progress(tile: Size, overlap: Size) -> None:
    """Raises ValueError if the tiles of a large image would stay where they are."""
    if any(t <= o for t, o in zip(_align(tile), _align(overlap), strict=True)):
        raise ValueError(
            f"tile: {tile[0]} x {tile[1]} with an overlap of {overlap[0]} x {overlap[1]} makes no "
            f"progress, as both count in steps of {ALIGN} pixels; take larger tiles or less overlap"
        )


def _align(size: Size) -> Size:
    return -(-size[0] // ALIGN) * ALIGN, -(-size[1] // ALIGN) * ALIGN


class _Band:
    """The weighted sum of the tiles that overlap in some rows, and of their weights.

    width: of the padded image; tile, overlap: (H, W). Logits arrive as K h w.
    """

    def __init__(self, width: int, tile: Size, overlap: Size):
        self.width, self.tile, self.overlap = width, tile, overlap
        self.total = self.weight = self.taper = torch.empty(0)
        self.stride = 0

    def add(self, left: int, logits: Tensor) -> None:
        """Adds a tile whose left edge is at pixel `left`."""
        if not self.stride:
            self._allocate(logits)
        columns = slice(left // self.stride, left // self.stride + logits.shape[2])
        self.total[:, :, columns] += logits * self.taper
        self.weight[:, columns] += self.taper

    def take(self, pixels: int) -> Tensor:
        """Returns the blended first rows, K n W; the others move up."""
        count = pixels // self.stride
        done = self.total[:, :count] / self.weight[:count]
        for values in (self.total, self.weight):
            rest = values[..., count:, :].clone()
            values.zero_()[..., : rest.shape[-2], :] = rest
        return done

    def _allocate(self, logits: Tensor) -> None:
        classes, height, width = logits.shape
        self.stride = self.tile[0] // height
        assert (height, width) == (self.tile[0] // self.stride, self.tile[1] // self.stride)
        self.total = logits.new_zeros(classes, height, self.width // self.stride)
        self.weight = logits.new_zeros(height, self.width // self.stride)
        cells = zip((height, width), self.overlap, strict=True)
        ramps = (_taper(number, overlap / self.stride, logits.device) for number, overlap in cells)
        self.taper = torch.outer(*ramps).to(logits)


def _taper(cells: int, overlap: float, device: torch.device) -> Tensor:
    """Returns weights along a tile's side: sin^2 ramps over the overlap, two of which sum to 1."""
    centre = torch.arange(cells, device=device) + 0.5
    ramp = torch.minimum(centre, cells - centre) / max(overlap, 0.5)
    return torch.sin(ramp.clamp(max=1.0) * (torch.pi / 2)).square()


def _blend_tiles(
    model: Model, read: Read, boxes: list[Box], bottom: int, band: _Band, batch_size: int
) -> Iterator[Rows]:
    """Yields rows of cells from top to bottom, each once."""
    ends = [*sorted({top for top, *_ in boxes})[1:], bottom]
    for (top, group), end in zip(groupby(boxes, key=lambda box: box[0]), ends, strict=True):
        row = list(group)
        for start in range(0, len(row), batch_size):
            batch = row[start : start + batch_size]
            logits = model(torch.cat([read(*box) for box in batch])).float()  # B K h w
            for (_, left, _, _), values in zip(batch, logits, strict=True):
                band.add(left, values)
        yield Rows(top // band.stride, band.take(end - top))


def _label_rows(
    rows: Iterator[Rows], padded: Size, size: Size, original_size: Size
) -> Iterator[tuple[int, Tensor]]:
    """Yields (first row, best classes uint8 R W) at the original size, from top to bottom."""
    held, done = None, 0
    for new in rows:
        if held is not None:
            new = Rows(held.first, torch.cat([held.logits, new.logits], dim=1))
        last = new.first + new.logits.shape[1] - 1
        stride = padded[1] // new.logits.shape[2]
        vertical = _locate(padded[0] // stride, stride, size[0], original_size[0])
        columns = _locate(new.logits.shape[2], stride, size[1], original_size[1])
        ready = int(np.searchsorted(vertical.high, last, side="right"))
        step = max(VALUES // original_size[1], 1)
        for top in range(done, ready, step):
            part = vertical.cut(top, min(top + step, ready), new.first)
            best = BestClass((len(part.low), len(columns.low)), new.logits.device)
            for train_id, values in enumerate(new.logits):
                best.update(train_id, _interpolate(_interpolate(values, part, 0), columns, 1))
            yield top, best.labels
        held, done = Rows(last, new.logits[:, -1:]), ready


class Positions(NamedTuple):
    """Places of pixels between cells: the cells before and after, and the share of the latter."""

    low: np.ndarray
    high: np.ndarray
    share: np.ndarray

    def cut(self, start: int, stop: int, first: int) -> "Positions":
        """Pixels start..stop-1, cells counted from `first`."""
        low, high, share = (values[start:stop] for values in self)
        return Positions(low - first, high - first, share)


def _locate(cells: int, stride: int, size: int, original: int) -> Positions:
    """Locates `original` pixels over `size` pixels of the network's input in cells of `stride`.

    Bilinear, align_corners False, as F.interpolate has it.
    """
    place = (np.arange(original) + 0.5) * (size / original) / stride - 0.5
    place = np.clip(place, 0, cells - 1)
    low = np.minimum(place.astype(np.int64), cells - 1)
    return Positions(low, np.minimum(low + 1, cells - 1), (place - low).astype(np.float32))


def _interpolate(values: Tensor, places: Positions, axis: int) -> Tensor:
    low, high, share = (torch.from_numpy(part).to(values.device) for part in places)
    share = share[:, None] if axis == 0 else share
    return torch.lerp(values.index_select(axis, low), values.index_select(axis, high), share)
