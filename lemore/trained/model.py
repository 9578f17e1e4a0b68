"""A trained segmentation model ready for use, as `lemore.load` returns it."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from lemore.config.recipe import Test
from lemore.config.size import Size
from lemore.data.archives.images import convert_to_rgb
from lemore.data.augment.segmentation import fit_size, resize_for_test
from lemore.evaluation import segmentation
from lemore.evaluation.tiles import check_progress, label_tiles
from lemore.evaluation.upsample import Pass, Window, label_passes
from lemore.reporting.prediction import Prediction
from lemore.trained.checkpoint import Classes, Trained
from lemore.trained.predict.photos import read_photo

WHOLE_PIXELS = 2048 * 1024  # above this, an image of a chosen size is tiled


@dataclass(frozen=True)
class Geometry:
    """The size at which the network sees an image, and the pieces.

    size: (long side, short side) that it is fitted into with its aspect kept, `original` for its
    own size, None for that of the model's evaluation. tile: (H, W) of overlapping tiles; None: the
    whole image, but tiles of the training's crop size where a chosen size has more than
    2048 x 1024 pixels. overlap: (H, W); None: a quarter of the tile.
    """

    size: Size | Literal["original"] | None = None
    tile: Size | None = None
    overlap: Size | None = None

    def __post_init__(self) -> None:
        for name in ("size", "tile", "overlap"):
            value = getattr(self, name)
            if isinstance(value, tuple) and min(value) < (0 if name == "overlap" else 1):
                raise ValueError(f"{name}: {value} is too small")
        if self.tile:
            check_progress(self.tile, self.choose_overlap(self.tile))

    def choose_overlap(self, tile: Size) -> Size:
        return self.overlap or (tile[0] // 4, tile[1] // 4)

    def choose_scale(self, size: Size, img_scale: Size) -> Size:
        """(long, short) side that an image of `size` is fitted into; img_scale: in evaluation."""
        return (max(size), min(size)) if self.size == "original" else self.size or img_scale

    def fit(self, size: Size, img_scale: Size) -> Size:
        """(H, W) at which a network sees an image of `size`; ValueError if it vanishes."""
        fitted = fit_size(size, self.choose_scale(size, img_scale))
        if min(fitted) < 1:
            raise ValueError(f"is too long and narrow ({size[0]} x {size[1]} pixels)")
        return fitted


class Model(nn.Module):
    """A trained segmentation model with its classes.

    classes, colors: names and display colours by train id. test: the settings of its evaluation.
    licence: of the weights, "" if none is stated with them. start_licences: of what they started
    from.
    """

    default_kinds = ("overlay",)  # of files of predictions
    category_ids: tuple[int, ...] = ()  # a detector's

    def __init__(self, trained: Trained, classes: Classes):
        super().__init__()
        self.network = trained.network()
        self.classes, self.colors = classes.names, classes.colors
        self.test, self.licence = trained.test, trained.licence
        self.start_licences = trained.record.start_licences
        self.crop_size = trained.input_size
        self.name = f"{trained.job.model_name} on {trained.job.dataset}"

    def forward(self, x: Tensor) -> Tensor:
        """Logits B K h w at the model's own stride (PEM: its scores of the classes) for float
        B 3 H W, RGB normalised by ImageNet's mean and deviation."""
        return self.network(x)

    def predict(
        self,
        image: "str | os.PathLike[str] | Image.Image | np.ndarray",
        *,
        size: Size | Literal["original"] | None = None,
        tile: Size | int | None = None,
    ) -> Prediction:
        """Predicts the classes in one image: a path, a PIL image or H W 3 uint8 RGB, of any size.

        The image is fitted into the size at which the model was evaluated, or into `size`, (long
        side, short side) in pixels or "original"; `tile` (H, W) processes it in overlapping
        parts. The label map has the image's own size. An EXIF orientation is applied first.
        ValueError says what is wrong with the image.
        """
        square = (tile, tile) if isinstance(tile, int) else tile
        return self.predict_batch([load_rgb(image)], Geometry(size, square))[0]

    def check_geometry(self, geometry: Geometry) -> None:
        """Raises ValueError for a geometry that this model does not take."""
        if self.test.mode == "square" and (geometry.size or geometry.tile):
            height, width = self.crop_size
            raise ValueError(
                f"size, tile: {self.name} is tested in mode square, which brings every image to "
                f"{height} x {width}; leave them out"
            )
        if geometry.overlap and not geometry.tile:
            check_progress(self.crop_size, geometry.overlap)

    def predict_batch(
        self, images: Sequence[np.ndarray], geometry: Geometry, batch_size: int = 1
    ) -> list[Prediction]:
        """The classes in RGB images whose `fit_image` is the same; batch_size: of tiles, if any."""
        self.check_geometry(geometry)
        maps = self._label_images(images, geometry, batch_size)
        return [
            Prediction(image, labels, self.classes, self.colors)
            for image, labels in zip(images, maps, strict=True)
        ]

    def fit_image(self, size: Size, geometry: Geometry) -> Size:
        """(H, W) at which the network sees an image of `size`; ValueError if it vanishes."""
        return geometry.fit(size, self.test.img_scale)

    def choose_tile(self, size: Size, geometry: Geometry) -> Size | None:
        """The tile for an image that the network sees at `size`, None for one piece."""
        tile = geometry.tile
        if tile is None and geometry.size and size[0] * size[1] > WHOLE_PIXELS:
            tile = self.crop_size
        return None if tile is None or (tile[0] >= size[0] and tile[1] >= size[1]) else tile

    @property
    def device(self) -> torch.device:
        return next(chain(self.network.parameters(), self.network.buffers())).device

    @torch.inference_mode()
    def _label_images(
        self, images: Sequence[np.ndarray], geometry: Geometry, batch_size: int
    ) -> list[np.ndarray]:
        size = self.fit_image(_get_size(images[0]), geometry)
        if (tile := self.choose_tile(size, geometry)) is not None:
            return [self._label_tiles(image, size, tile, geometry, batch_size) for image in images]
        test = self.test
        if geometry.size == "original":
            test = replace(test, img_scale=(max(size), min(size)), align=None)
        elif geometry.size:
            test = replace(test, img_scale=geometry.size)
        if test.mode == "whole" and test.ratios == (1.0,) and not test.flip:
            return self._label_whole(images, test)
        return [
            segmentation.label_image(self.network, image, self.device, test, self.crop_size)
            for image in images
        ]

    def _label_whole(self, images: Sequence[np.ndarray], test: Test) -> list[np.ndarray]:
        """One pass of the network for all images; their labels are found as in evaluation."""
        resized = [resize_for_test(image, test.img_scale, test.align) for image in images]
        batch = torch.cat([segmentation.normalize_image(image, self.device) for image in resized])
        size = (batch.shape[2], batch.shape[3])
        via = size if test.upsample == "two_step" else None
        return [
            label_passes([Pass([Window(0, 0, size, logits)], via)], _get_size(image))
            for logits, image in zip(self.network(batch).float().split(1), images, strict=True)
        ]

    def _label_tiles(
        self, image: np.ndarray, size: Size, tile: Size, geometry: Geometry, batch_size: int
    ) -> np.ndarray:
        resized = cv2.resize(image, size[::-1]) if size != _get_size(image) else image

        def read(top: int, left: int, height: int, width: int) -> Tensor:
            part = resized[top : top + height, left : left + width]
            below, right = height - part.shape[0], width - part.shape[1]
            if below or right:
                part = cv2.copyMakeBorder(part, 0, below, 0, right, cv2.BORDER_REPLICATE)
            return segmentation.normalize_image(part, self.device)

        return label_tiles(
            self.network,
            read,
            size,
            _get_size(image),
            tile=tile,
            overlap=geometry.choose_overlap(tile),
            batch_size=batch_size,
        )


def load_rgb(image: "str | os.PathLike[str] | Image.Image | np.ndarray") -> np.ndarray:
    """H W 3 uint8 RGB of a path, a PIL image or an array of this form."""
    if isinstance(image, (str, os.PathLike)):
        path = Path(image)
        try:
            return read_photo(path)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
    if isinstance(image, Image.Image):
        return convert_to_rgb(image)
    if not isinstance(image, np.ndarray):
        raise ValueError(f"image is {type(image).__name__}, expected a path, PIL image or array")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(
            f"image is {image.dtype} {image.shape}, expected uint8 (H, W, 3), RGB, 0 to 255"
        )
    return image


def _get_size(image: np.ndarray) -> Size:
    return image.shape[0], image.shape[1]
