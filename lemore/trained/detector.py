"""A trained detector ready for use, as `lemore.load` returns it."""

import logging
import os
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from lemore.config.size import Size
from lemore.evaluation.boxes import Found, detect, pad_photo
from lemore.trained.boxes import BoxPrediction
from lemore.trained.checkpoint import Classes, Trained
from lemore.trained.model import Geometry, load_rgb

log = logging.getLogger(__name__)
SCORE = 0.3  # of a box that is worth a look; average precision counts smaller ones too


class DetectionModel(nn.Module):
    """A trained detector with its classes.

    classes, colors, category_ids: names, display colours and ids in COCO's JSON, by train id. test:
    the settings of its evaluation. licence: of the weights, "" if none is stated with them.
    start_licences: of what they started from. score: predictions hold no box of a smaller one.
    """

    default_kinds = ("overlay", "boxes")  # of files of predictions

    def __init__(self, trained: Trained, classes: Classes):
        super().__init__()
        self.network: Any = trained.network()
        self.classes, self.colors = classes.names, classes.colors
        self.category_ids = classes.category_ids
        self.test, self.licence = trained.test, trained.licence
        self.start_licences = trained.record.start_licences
        self.name = f"{trained.job.model_name} on {trained.job.dataset}"
        self.score = SCORE

    def forward(self, x: Tensor) -> Any:
        """The raw outputs of the head for float B 3 H W, RGB normalised by ImageNet's mean and
        deviation; H and W are multiples of `network.padding`."""
        return self.network(x)

    def predict(
        self,
        image: "str | os.PathLike[str] | Image.Image | np.ndarray",
        *,
        size: Size | Literal["original"] | None = None,
    ) -> BoxPrediction:
        """Finds the objects in one image: a path, a PIL image or H W 3 uint8 RGB, of any size.

        The image is fitted into the size at which the model was evaluated, or into `size`, (long
        side, short side) in pixels or "original". The boxes are in pixels of the image itself. An
        EXIF orientation is applied first. ValueError says what is wrong with the image.
        """
        return self.predict_batch([load_rgb(image)], Geometry(size))[0]

    def check_geometry(self, geometry: Geometry) -> None:
        """Raises ValueError for a geometry that this model does not take."""
        if geometry.tile or geometry.overlap:
            raise ValueError(
                f"tile, overlap: {self.name} detects objects, and sees whole images; leave them out"
            )

    def fit_image(self, size: Size, geometry: Geometry) -> Size:
        """(H, W) at which the network sees an image of `size`; ValueError if it vanishes."""
        return geometry.fit(size, self.test.img_scale)

    def predict_batch(
        self, images: Sequence[np.ndarray], geometry: Geometry, _batch_size: int = 1
    ) -> list[BoxPrediction]:
        """The objects in RGB images whose `fit_image` is the same, which are one batch."""
        scale = geometry.choose_scale(images[0].shape[:2], self.test.img_scale)
        photos = [pad_photo(image, scale, self.network.padding) for image in images]
        found = detect(self.network, photos, self.device)
        return [self._describe(*pair) for pair in zip(images, found, strict=True)]

    def _describe(self, image: np.ndarray, found: Found) -> BoxPrediction:
        kept = found.scores >= self.score
        if len(kept) and not kept.any():
            surest = found.scores.max()
            log.info("no box has a score of %.2g; the surest has %.2g", self.score, surest)
        boxes, labels, scores = (values[kept] for values in found)
        return BoxPrediction(
            image, boxes, labels, scores, self.classes, self.colors, self.category_ids
        )

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device
